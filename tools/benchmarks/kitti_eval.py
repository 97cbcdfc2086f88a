"""KITTI's evaluation on the CPU: reading the text files, then AP in the image, in BEV and in 3D (R40 and R11).

With `SSAL3D_TEST_DATA` set, the files are the official val labels and 16,057 real car detections on them (the folder's
`kitti_labels` and `kitti_eval`); otherwise they are synthetic and as many. The parts' names say which.
"""

import os
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._clock import fastest

from ssal3d.data.kitti_format import read_split
from ssal3d.data.kitti_objects import KittiFrames, KittiObjects, format_objects, read_frames
from ssal3d.evaluation.kitti_ap import evaluate_kitti

DEFAULT_FRAMES = 3769
CLASSES = ('Car', 'Pedestrian', 'Cyclist')
SHARES = (0.8, 0.12, 0.08)
SIZES = np.array([[1.5, 1.6, 3.9], [1.7, 0.6, 0.8], [1.7, 0.6, 1.8]])  # height, width, length
TRUTHS, DETECTIONS = 7.1, 4.3  # a frame, as in the official val split and the real detections
SECONDS_AT_MOST = 3.0


def run(frames: int) -> list[dict[str, Any]]:
    """Measure every part; CPU times are the least of five, after one call that compiles."""
    with tempfile.TemporaryDirectory() as folder:
        root = os.environ.get('SSAL3D_TEST_DATA')
        labels, detections, ids = _real(Path(root), Path(folder), frames) if root else _synthetic(Path(folder), frames)
        truth, found = read_frames(labels, ids), read_frames(detections, ids, detections=True)
        kind = 'real' if root else 'synthetic'
        first = fastest(lambda: evaluate_kitti(truth, found, ['Car']), repeats=1)
        parts: dict[str, Callable[[], object]] = {
            f'load {2 * len(ids)} files': lambda: (read_frames(labels, ids), read_frames(detections, ids)),
            'evaluate Car': lambda: evaluate_kitti(truth, found, ['Car']),
            'evaluate 3 classes': lambda: evaluate_kitti(truth, found, CLASSES),
        }
        rows = [{'part': 'first call, compiling or reading compiled code', 'value': first, 'unit': 's'}]
        rows += [{'part': part, 'value': fastest(call), 'unit': 's'} for part, call in parts.items()]
    for row in rows:
        row['part'] = f'{row["part"]} ({kind}, {len(ids)} frames)'
        if 'evaluate' in row['part']:
            row['target'] = SECONDS_AT_MOST
    return rows


def _real(root: Path, folder: Path, frames: int) -> tuple[Path, Path, list[str]]:
    for archive in ('kitti_labels/label_2.tar.gz', 'kitti_eval/pointgnn_val_detections.tar.gz'):
        with tarfile.open(root / archive) as files:
            files.extractall(folder, filter='data')
    ids = read_split(root / 'kitti_labels' / 'ImageSets' / 'val.txt')[:frames]
    return folder / 'training' / 'label_2', folder / 'data', ids


def _synthetic(folder: Path, frames: int) -> tuple[Path, Path, list[str]]:
    rng = np.random.default_rng(0)
    truth = _objects(rng, rng.poisson(TRUTHS, frames))
    kept = rng.random(len(truth.objects)) < DETECTIONS / TRUTHS
    offsets = np.concatenate(([0], np.cumsum(kept)))[truth.offsets]
    objects = truth.objects[kept]
    found = replace(
        objects,
        bbox=objects.bbox + rng.normal(0, 2, (len(objects), 4)),
        location=objects.location + rng.normal(0, 0.15, (len(objects), 3)),
        scores=rng.random(len(objects)),
    )
    ids = [f'{frame:06d}' for frame in range(frames)]
    for name, content in (('labels', truth), ('detections', KittiFrames(found, offsets))):
        (folder / name).mkdir()
        for index, frame in enumerate(ids):
            (folder / name / f'{frame}.txt').write_text(format_objects(content[index]))
    return folder / 'labels', folder / 'detections', ids


def _objects(rng: np.random.Generator, counts: np.ndarray) -> KittiFrames:
    """Draw objects over a street of 60 m."""
    total = int(counts.sum())
    kind = rng.choice(len(CLASSES), total, p=SHARES)
    corner = rng.uniform((0, 120), (1100, 200), (total, 2))
    objects = KittiObjects(
        names=np.array(CLASSES)[kind],
        truncated=np.zeros(total),
        occluded=rng.integers(0, 3, total),
        alpha=np.zeros(total),
        bbox=np.concatenate((corner, corner + rng.uniform(20, 120, (total, 2))), axis=1),
        dimensions=SIZES[kind],
        location=rng.uniform((-20, 1.5, 5), (20, 1.9, 60), (total, 3)),
        rotation_y=rng.uniform(-np.pi, np.pi, total),
        scores=np.full(total, np.nan),
    )
    return KittiFrames(objects, np.concatenate(([0], np.cumsum(counts))))
