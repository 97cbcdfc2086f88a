"""Waymo's evaluation on the CPU: reading both .bin files, then AP and APH of three types by level and range.

The files are synthetic: 50 detections and 40 ground truths a frame, as many frames as asked for. The official
validation set has about 40,000 (`--frames 40000`: 2 million detections).
"""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ssal3d.evaluation.waymo_ap import evaluate_waymo
from ssal3d.evaluation.waymo_objects import FrameKey, WaymoObjects, read_objects, write_objects

DEFAULT_FRAMES = 2000
VALIDATION_FRAMES, SECONDS_AT_MOST = 40_000, 180.0
TRUTHS, DETECTIONS = 40, 50  # a frame
SHARES = {1: 0.6, 2: 0.35, 4: 0.05}  # by type
SIZES = {1: (4.7, 2.1, 1.7), 2: (0.9, 0.86, 1.7), 4: (1.8, 0.84, 1.8)}


def run(frames: int) -> list[dict[str, Any]]:
    """Measure every part: CPU seconds of this process, which other work on the machine does not change."""
    with tempfile.TemporaryDirectory() as folder:
        truth_path, path = Path(folder) / 'truth.bin', Path(folder) / 'detections.bin'
        keys = _write(truth_path, path, frames)
        small = read_objects(truth_path, {})[:5000]
        evaluate_waymo(small, small)  # compiles
        before = _peak_megabytes()
        seconds: dict[str, float] = {}
        numbers: dict[FrameKey, int] = {}
        truth = _timed(seconds, f'reading {frames * TRUTHS} ground truths', lambda: read_objects(truth_path, numbers))
        found = _timed(seconds, f'reading {frames * DETECTIONS} detections', lambda: read_objects(path, numbers))
        assert len(numbers) == len(keys)
        _timed(seconds, 'AP and APH of 3 types and 3 ranges', lambda: evaluate_waymo(truth, found))
    rows: list[dict[str, Any]] = [{'part': part, 'value': value, 'unit': 'CPU s'} for part, value in seconds.items()]
    allowed = SECONDS_AT_MOST * frames / VALIDATION_FRAMES
    rows.append({'part': f'all of {frames} frames', 'value': sum(seconds.values()), 'unit': 'CPU s', 'target': allowed})
    rows.append({'part': 'memory on top of the start', 'value': _peak_megabytes() - before, 'unit': 'MB'})
    return rows


def _timed(seconds: dict[str, float], part: str, call: Callable[[], Any]) -> Any:
    start = time.process_time()
    result = call()
    seconds[part] = time.process_time() - start
    return result


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _write(truth_path: Path, path: Path, frames: int) -> list[FrameKey]:
    """Write both files; four of five ground truths are found, a third of the detections is wrong."""
    random = np.random.default_rng(0)
    keys = [(f'segment-{frame // 200}', 0, 100_000 * frame) for frame in range(frames)]
    truth = _objects(random, frames, TRUTHS)
    rows = np.flatnonzero(random.random(len(truth)) < 0.8)
    hits = truth[rows]
    errors = _objects(random, frames, DETECTIONS - int(0.8 * TRUTHS))
    noise = random.normal(0, 0.05, (len(hits), 7))
    columns = {name: np.concatenate((values, getattr(errors, name))) for name, values in vars(hits).items()}
    columns['boxes'][: len(hits)] += noise
    columns['scores'] = random.beta(1, 1.5, len(columns['frames'])).astype(np.float32)
    write_objects(truth_path, truth, keys)
    write_objects(path, WaymoObjects(**columns), keys)
    return keys


def _objects(random: np.random.Generator, frames: int, per_frame: int) -> WaymoObjects:
    total = frames * per_frame
    types = random.choice(list(SHARES), total, p=list(SHARES.values()))
    place = random.uniform((-75, -75, 0), (75, 75, 2), (total, 3))
    sizes = np.array([SIZES.get(type_, (1, 1, 1)) for type_ in range(5)])[types]
    return WaymoObjects(
        frames=np.repeat(np.arange(frames), per_frame),
        boxes=np.column_stack((place, sizes, random.uniform(-np.pi, np.pi, total))),
        types=types.astype(np.int32),
        scores=np.ones(total, dtype=np.float32),
        levels=np.zeros(total, dtype=np.int32),
        num_points=random.integers(0, 200, total).astype(np.int32),
        in_no_label_zone=np.zeros(total, dtype=np.bool_),
    )
