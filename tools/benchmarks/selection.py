"""CAL on a synthetic pool: the whole command ``al_select.py`` with two prediction sets, and its parts.

Up to 5,000 frames: KITTI's budget of 150 boxes with 256 features per box; above: Waymo's budget of 5,000; above 50,000
frames with 64 features. Frames hold 12 predicted and about 5 annotated boxes. Times are the best of three.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ssal3d.active import CALSampler, select
from ssal3d.active.synthetic import CLASSES, annotated_boxes, second_model, synthetic_pool, write_predictions
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.fileio import write_json
from ssal3d.predictions import read_predictions

DEFAULT_FRAMES = 3612
REPEATS = 3
COMMAND = Path(__file__).resolve().parents[1] / 'al_select.py'
CONFIG = COMMAND.parents[1] / 'configs' / 'active' / 'cal_kitti.py'
WEIGHTS = {'Car': 0.3, 'Pedestrian': 1.1, 'Cyclist': 1.6}


class Process(NamedTuple):
    """What a finished process took."""

    seconds: float
    cpu: float
    gigabytes: float


def run(frames: int) -> list[dict[str, Any]]:
    """Time the command and its parts on a pool of ``frames`` frames."""
    budget, width = (150, 256) if frames <= 5000 else (5000, 256 if frames <= 50_000 else 64)
    limit = 4 if frames <= 5000 else 15 if frames <= 50_000 else 60
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = write_inputs(folder, frames, width)
        query = [str(COMMAND), str(CONFIG), *inputs, '--budget', str(budget), '--out', str(folder / 'query.json')]
        whole = [run_process(query) for _ in range(REPEATS)]
        first = run_process(query, NUMBA_CACHE_DIR=str(folder / 'cache'))
        start_up = min(run_process([str(COMMAND), '--help']).seconds for _ in range(REPEATS))
        return [
            row('start-up and imports', start_up),
            *time_parts(folder, budget),
            row('whole command', min(process.seconds for process in whole), at_most=limit),
            row('of that on the CPU', min(process.cpu for process in whole)),
            row('first run, which compiles kernels', first.seconds),
            row('peak memory', max(process.gigabytes for process in whole), 'GB', at_most=3),
        ]


def row(part: str, value: float, unit: str = 's', at_most: float | None = None) -> dict[str, Any]:
    """Return one line of the result."""
    return {'part': part, 'value': value, 'unit': unit, **({} if at_most is None else {'target': at_most})}


def write_inputs(folder: Path, frames: int, width: int) -> list[str]:
    """Write predictions of two models, annotations and an empty label state; return the options that name them."""
    pool = synthetic_pool(frames, fields=('box_features',), width=width, noise=0.45)
    write_predictions(pool, folder / 'query_model')
    write_predictions(second_model(pool), folder / 'reference_model')
    write_json(folder / 'counts.json', annotated_boxes(pool))
    LabelState.empty(CLASSES, 'synthetic', pool.frame_ids.tolist()).write(folder / 'labels.json')
    options = {
        'predictions': 'query_model',
        'reference-predictions': 'reference_model',
        'annotations': 'counts.json',
        'labels': 'labels.json',
    }
    return [word for option, name in options.items() for word in (f'--{option}', str(folder / name))]


def time_parts(folder: Path, budget: int) -> list[dict[str, Any]]:
    """Time reading, merging and selecting inside this process."""

    def read() -> tuple[Any, Any]:
        return read_predictions(folder / 'query_model', ('box_features',)), read_predictions(folder / 'reference_model')

    reading, (pool, reference) = best(read)
    sampler = CALSampler(caps='manual', class_weights=WEIGHTS)
    counts = annotated_boxes(pool)
    labels = LabelState.empty(CLASSES, 'synthetic', pool.frame_ids.tolist())
    ensemble, _ = best(lambda: sampler.detections(pool, reference))
    both, query = best(
        lambda: select(sampler, pool, labels, budget=budget, reference=reference, annotate=counts.__getitem__)
    )
    return [
        row('reading', reading),
        row('ensemble', ensemble),
        row('selection after that', both - ensemble, at_most=1 if budget == 150 else None),
        row('frames selected', len(query.frames), 'frames'),
    ]


def best(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the shortest time of three calls and the last result."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def run_process(arguments: list[str], **environment: str) -> Process:
    """Run Python with arguments and measure the process from start to exit."""
    start = time.perf_counter()
    process = os.posix_spawn(
        sys.executable,
        [sys.executable, *arguments],
        {**os.environ, **environment},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(process, 0)
    if status:
        raise UserError(f'{arguments[0]} ended with status {status}; run it by hand to see why')
    seconds = time.perf_counter() - start
    return Process(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)
