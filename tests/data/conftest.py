"""A synthetic folder in the KITTI object layout, small enough to break in every way."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope

CALIBRATION = """P0: 721.5377 0 609.5593 0 0 721.5377 172.854 0 0 0 1 0
P1: 721.5377 0 609.5593 -387.5744 0 721.5377 172.854 0 0 0 1 0
P2: 721.5377 0 609.5593 44.85728 0 721.5377 172.854 0.2163791 0 0 1 0.002745884
P3: 721.5377 0 609.5593 -339.5242 0 721.5377 172.854 2.199936 0 0 1 0.002729905
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27
Tr_imu_to_velo: 1 0 0 -0.8 0 1 0 0.3 0 0 1 -0.8

"""
# One car 20 m ahead, one pedestrian, and a region that nobody labelled.
LABELS = """Car 0.00 0 0.10 560.00 170.00 660.00 230.00 1.50 1.60 4.00 0.50 1.65 20.00 -1.50
Pedestrian 0.10 1 -0.20 700.00 160.00 720.00 210.00 1.80 0.60 0.80 3.00 1.65 15.00 0.30
DontCare -1 -1 -10 100.00 170.00 140.00 200.00 -1 -1 -1 -1000 -1000 -1000 -10
"""


class KittiFolder:
    """Writes frames, and breaks them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / 'ImageSets').mkdir(parents=True)

    def path(self, kind: str, frame: str) -> Path:
        return self.root / 'training' / kind / f'{frame}{".bin" if kind == "velodyne" else ".txt"}'

    def write(self, kind: str, frame: str, content: str | bytes) -> None:
        path = self.path(kind, frame)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def add(self, frame: str, *, labels: str | None = LABELS, calibration: str | None = CALIBRATION) -> None:
        self.write('velodyne', frame, scan(int(frame)).tobytes())
        if labels is not None:
            self.write('label_2', frame, labels)
        if calibration is not None:
            self.write('calib', frame, calibration)

    def split(self, name: str, *frames: str) -> None:
        (self.root / 'ImageSets' / f'{name}.txt').write_text(''.join(f'{frame}\n' for frame in frames))


def scan(seed: int) -> np.ndarray:
    """600 points all around, a third of them about the labelled car."""
    random = np.random.default_rng(seed)
    points = random.uniform((-60, -30, -2, 0), (60, 30, 1, 1), (400, 4))
    car = random.uniform((18, -2, -1.7, 0), (23, 1.5, 0.5, 1), (200, 4))
    return np.concatenate((points, car)).astype(np.float32)


@pytest.fixture
def mmdet3d_scope():
    """What a Runner sets up, so that data sets find their transforms."""
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        yield


@pytest.fixture
def kitti_folder(tmp_path) -> KittiFolder:
    """Six frames: 0-3 labelled (`train`), of which 3 without objects, 4-5 without labels (`unlabelled`)."""
    folder = KittiFolder(tmp_path / 'kitti')
    for frame in range(6):
        folder.add(f'{frame:06d}', labels=LABELS if frame < 3 else '' if frame == 3 else None)
    folder.split('train', '000000', '000001', '000002', '000003')
    folder.split('unlabelled', '000004', '000005')
    return folder


MINI_FRAMES = ('000000', '000001', '000002', '000003', '000134', '000114', '000623', '900000', '900152', '950041')


@pytest.fixture
def mini_folder(kitti_mini, tmp_path) -> Path:
    """Ten real frames of three recording days (links), labelled except the last: splits `train`, `unlabelled`."""
    root = tmp_path / 'mini'
    for kind, suffix in (('velodyne', '.bin'), ('calib', '.txt'), ('label_2', '.txt')):
        (root / 'training' / kind).mkdir(parents=True)
        for frame in MINI_FRAMES:
            source = kitti_mini / 'training' / kind / f'{frame}{suffix}'
            if source.exists():
                (root / 'training' / kind / source.name).symlink_to(source)
    (root / 'ImageSets').mkdir()
    (root / 'ImageSets' / 'train.txt').write_text('\n'.join(MINI_FRAMES[:-1]) + '\n')
    (root / 'ImageSets' / 'unlabelled.txt').write_text(MINI_FRAMES[-1] + '\n')
    return root
