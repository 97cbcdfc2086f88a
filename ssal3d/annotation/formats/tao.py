"""NVIDIA TAO PointPillars: lines that look like KITTI's and are not, for training only.

https://docs.nvidia.com/tao/tao-toolkit/text/cv_finetuning/pytorch/point_cloud/pointpillars.html
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from ssal3d.annotation.format import AnnotationFormat, Batch
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.scans import frame_points
from ssal3d.registry import ANNOTATION_FORMATS


@ANNOTATION_FORMATS.register_module('tao')
class TaoFormat(AnnotationFormat):
    """TAO PointPillars' ``lidar`` and ``label`` folders; its BEVFusion reads true KITTI instead (format ``kitti``).

    Boxes are in the LiDAR frame: x, y, z is the geometric centre and the last angle turns counter-clockwise about z.
    There is no calibration. A frame without boxes is left out, because TAO refuses empty label files.

    Args:
        split: Name of the split's folder.
    """

    title = 'NVIDIA TAO PointPillars'
    can_read: ClassVar[bool] = False

    def __init__(self, split: str = 'train') -> None:
        self.split = split

    def spelled(self, class_name: str) -> str:
        """Return the name with underscores, because blanks separate the fields of a line."""
        return '_'.join(class_name.split())

    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write ``<split>/lidar/*.bin`` (intensity in [0, 1]) and ``<split>/label/*.txt``."""
        scans, labels = folder / self.split / 'lidar', folder / self.split / 'label'
        scans.mkdir(parents=True)
        labels.mkdir()
        empty = scaled = 0
        for frame in frames:
            if not frame.cuboids:
                empty += 1
                continue
            points = frame_points(frame)
            if points[:, 3].max() > 1:
                points[:, 3] = np.clip(points[:, 3] / 255, 0, 1)
                scaled += 1
            (scans / f'{frame.frame_id}.bin').write_bytes(points.astype('<f4').tobytes())
            (labels / f'{frame.frame_id}.txt').write_text(''.join(_line(cuboid) for cuboid in frame.cuboids))
        notes = []
        if empty:
            notes.append(f'{empty} frames without boxes were left out: TAO refuses empty label files')
        if scaled:
            notes.append(f'the intensity of {scaled} frames was divided by 255: TAO expects [0, 1]')
        return notes


def _line(cuboid: Cuboid) -> str:
    x, y, z, dx, dy, dz, yaw = cuboid.box
    score = '' if cuboid.score is None else f' {cuboid.score:.4f}'
    numbers = ' '.join(f'{value:.4f}' for value in (dz, dy, dx, x, y, z, yaw))
    return f'{cuboid.class_name} -1 -1 0 0 0 0 0 {numbers}{score}\n'
