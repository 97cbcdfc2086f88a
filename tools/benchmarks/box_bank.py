"""Refreshing the box bank after inference, on one core: thresholds, refinement, cutting, writing.

The pool is synthetic: 12 predictions and 20,000 points a frame. The authors' code needs 12 ms and 277 kB a frame, and
writes 2.5 files for each; it crops the scans to the camera's view every time, which is done here once when the data is
converted and is shown apart.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._clock import fastest
from benchmarks._cpsp_pool import CLASSES, SyntheticPool

from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.generation import CONFIDENT, Generation
from ssal3d.cpsp.background import update_unlabelled
from ssal3d.cpsp.confidence import uncertainty
from ssal3d.cpsp.refine import UncertainBoxes, refine
from ssal3d.cpsp.refresh import refresh
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.cpsp.shard import Shard, pool_shard
from ssal3d.data.kitti_format import Calibration, in_camera_view

DEFAULT_FRAMES = 1000
RAW_POINTS = 115_000


def run(frames: int) -> list[dict[str, Any]]:
    """Measure every part; CPU times are the least of five."""
    with tempfile.TemporaryDirectory() as folder:
        pool, settings = SyntheticPool(Path(folder), frames), cpsp_settings()
        first, second = pool.predict(1), pool.predict(2)
        previous = refresh(pool.load_points, CLASSES, settings, predictions=first)

        def next_generation() -> Generation:
            return refresh(pool.load_points, CLASSES, settings, predictions=second, previous=previous)

        def plan() -> Shard:
            return pool_shard(CLASSES, settings, second, None, None, previous)

        everything = next_generation()
        shard, clouds = plan(), {i: pool.load_points(i) for i in pool.frame_ids[: len(pool.boxes)]}
        ids = list(clouds)
        parts = [
            ('checks and thresholds', fastest(plan), frames),
            ('refine', fastest(lambda: [_refine(shard, row) for row in range(len(ids))]), len(ids)),
            ('refine, cut and mask', fastest(lambda: [_update(shard, clouds, i) for i in range(len(ids))]), len(ids)),
            ('read scan', fastest(lambda: [pool.load_points(i) for i in ids]), len(ids)),
            ('refresh without writing', fastest(next_generation), frames),
            ('write', fastest(lambda: _publish(Path(folder), everything)), frames),
        ]
        rows = [{'part': name, 'value': 1e3 * seconds / count, 'unit': 'ms/frame'} for name, seconds, count in parts]
        total = rows[-2]['value'] + rows[-1]['value']
        written = _publish(Path(folder), everything)
        size = sum(path.stat().st_size for path in written.iterdir() if path.name != 'points.npy')
        return [
            *rows,
            {'part': 'total, without inference', 'value': total, 'unit': 'ms/frame', 'target': 3.0},
            {'part': 'written, without object points', 'value': size / frames / 1e3, 'unit': 'kB/frame', 'target': 5.0},
            {'part': 'files', 'value': len(list(written.iterdir())), 'unit': 'per generation', 'target': 9},
            {'part': 'crop of a raw scan (not in the total)', 'value': 1e3 * fastest(_crop()), 'unit': 'ms/frame'},
        ]


def _refine(shard: Shard, row: int) -> None:
    bank, preds = shard.bank.of(row), shard.preds.of(row)
    everything = np.ones(len(preds), np.bool_)
    tables = [UncertainBoxes(t['box'], t['label'], uncertainty(t['score'], 'score')) for t in (bank, preds)]
    assert (bank['source'] == CONFIDENT).all()
    refine(tables[0], bank['miss'], tables[1], everything, everything, shard.rules.settings)


def _update(shard: Shard, clouds: dict[str, np.ndarray], row: int) -> None:
    update_unlabelled(clouds[shard.frame_ids[row]], shard.preds.of(row), shard.bank.of(row), shard.rules)


def _publish(folder: Path, generation: Generation) -> Path:
    return BoxBank(tempfile.mkdtemp(dir=folder)).publish(generation)


def _crop() -> Callable[[], Any]:
    """Return a crop of one raw scan to the camera's view."""
    camera = np.eye(4)
    camera[:3] = [[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]]
    axes = np.array([[0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1.0]])
    calibration = Calibration({'P2': camera, 'R0_rect': np.eye(4), 'Tr_velo_to_cam': axes})
    scan = np.random.default_rng(0).uniform(-60, 60, (RAW_POINTS, 4)).astype(np.float32)
    return lambda: scan.take(np.flatnonzero(in_camera_view(scan, calibration, (1242, 375))), axis=0)
