"""A tiny street in the KITTI layout and a tiny PV-RCNN, so that whole experiments run in seconds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.paths import ROOT

CALIBRATION = """P0: 100 0 64 0 0 100 64 0 0 0 1 0
P1: 100 0 64 0 0 100 64 0 0 0 1 0
P2: 100 0 64 0 0 100 64 0 0 0 1 0
P3: 100 0 64 0 0 100 64 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0
Tr_imu_to_velo: 1 0 0 0 0 1 0 0 0 0 1 0
"""
GROUND = -1.7
SIZES = {'Car': (4.0, 1.7, 1.5), 'Pedestrian': (0.8, 0.6, 1.7), 'Cyclist': (1.8, 0.6, 1.7)}
TRAIN, VAL = 12, 3


def write_street(root: Path) -> Path:
    """Write frames with a ground plane and one to three objects made of surface points."""
    for kind in ('velodyne', 'label_2', 'calib'):
        (root / 'training' / kind).mkdir(parents=True)
    for frame in range(TRAIN + VAL):
        points, labels = _frame(np.random.default_rng(frame))
        points.tofile(root / 'training' / 'velodyne' / f'{frame:06d}.bin')
        (root / 'training' / 'label_2' / f'{frame:06d}.txt').write_text(labels)
        (root / 'training' / 'calib' / f'{frame:06d}.txt').write_text(CALIBRATION)
    (root / 'ImageSets').mkdir()
    for name, frames in (('train', range(TRAIN)), ('val', range(TRAIN, TRAIN + VAL))):
        (root / 'ImageSets' / f'{name}.txt').write_text(''.join(f'{frame:06d}\n' for frame in frames))
    return root


def _frame(rng: np.random.Generator) -> tuple[np.ndarray, str]:
    ground = np.column_stack((rng.uniform((2, -6), (12.8, 6), (1500, 2)), np.full(1500, GROUND)))
    clouds, lines = [ground], []
    for slot in rng.permutation(4)[: rng.integers(1, 4)]:
        name = str(rng.choice(list(SIZES), p=(0.6, 0.2, 0.2)))
        size = np.array(SIZES[name])
        centre = np.array((6.0 + 3.5 * (slot % 2), -3.0 + 6.0 * (slot // 2), GROUND + size[2] / 2))
        surface = rng.uniform(-0.5, 0.5, (150, 3))
        axis = rng.integers(0, 3, 150)
        surface[np.arange(150), axis] = np.sign(surface[np.arange(150), axis]) * 0.49
        clouds.append(surface * size + centre)
        length, width, height = size
        x, y = centre[:2]
        box = f'{64 - 100 * (y + 1) / x:.2f} {64 + 20:.2f} {64 - 100 * (y - 1) / x:.2f} {64 + 60:.2f}'
        where = f'{-y:.3f} {-GROUND:.3f} {x:.3f} {-np.pi / 2:.4f}'
        lines.append(f'{name} 0.00 0 0.00 {box} {height} {width} {length} {where}\n')
    points = np.concatenate(clouds).astype(np.float32)
    return np.column_stack((points, rng.random(len(points)))).astype(np.float32), ''.join(lines)


@pytest.fixture(scope='session')
def street(tmp_path_factory) -> Path:
    """The converted street: a data root for configs."""
    root = write_street(tmp_path_factory.mktemp('street'))
    command = [sys.executable, 'tools/create_data.py', 'kitti', '--root-path', str(root), '--workers', '1']
    subprocess.run([*command, '--image-size', '128', '128'], check=True, cwd=ROOT, capture_output=True)
    return root
