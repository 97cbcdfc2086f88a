"""The frames of a pool: scans and images of all of them, annotations of those that were bought and of no others."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.infos import frame_id, read_infos
from ssal3d.data.label_state import LabelState
from ssal3d.data.scans import read_scan
from ssal3d.errors import UserError
from ssal3d.evaluation.annotated_boxes import AnnotatedBoxes, read_annotated_boxes

DONT_CARE = -1  # label of KITTI's regions that nobody labelled
IMAGE_TYPES = ('.png', '.jpg', '.jpeg')


@dataclass(frozen=True)
class Pool:
    """Frames of one annotation file.

    Attributes:
        annotations: The annotation file.
        scans: Folder of the scans.
    """

    annotations: Path
    scans: Path

    @cached_property
    def _infos(self) -> dict[str, dict[str, Any]]:
        return {frame_id(info): info for info in read_infos(self.annotations)['data_list']}

    def _info(self, frame: str) -> dict[str, Any]:
        if frame not in self._infos:
            raise UserError(f"{self.annotations}: no frame '{frame}'; it has {len(self._infos)}, see its frame ids")
        return self._infos[frame]

    def nothing_labelled(self, classes: Sequence[str]) -> LabelState:
        """Return the label state before the first purchase."""
        return LabelState.empty(classes, self.annotations.stem, list(self._infos))

    def points(self, frame: str) -> NDArray[np.float32]:
        """Return the ``(N, >=3)`` scan of a frame, m."""
        lidar = self._info(frame)['lidar_points']
        return read_scan(self.scans / Path(lidar['lidar_path']).name, lidar.get('num_pts_feats', 4))

    def image(self, frame: str) -> Path | None:
        """Return the left colour image of a frame, None where there is none."""
        camera = self._info(frame).get('images', {}).get('CAM2', {})
        given = camera.get('img_path')
        names = [Path(given).name] if given else [f'{frame}{suffix}' for suffix in IMAGE_TYPES]
        places = (self.scans.parent / 'image_2' / name for name in names)
        return next((path for path in places if path.is_file()), None)

    def camera(self, frame: str) -> NDArray[np.float64] | None:
        """Return the ``(4, 4)`` projection from LiDAR to the left colour image, None without a camera."""
        matrix = self._info(frame).get('images', {}).get('CAM2', {}).get('lidar2img')
        return None if matrix is None else np.asarray(matrix, dtype=np.float64)

    def bought(self, frames: Sequence[str], paid: Collection[str], classes: Sequence[str]) -> AnnotatedBoxes:
        """Return the annotated boxes of frames that were bought.

        Args:
            frames: Frame ids.
            paid: Frames whose labels were bought.
            classes: Class names that labels index.

        Raises:
            UserError: If a frame was not bought.
        """
        self._check_paid(frames, paid)
        return read_annotated_boxes(self.annotations, frames, classes)

    def dontcare_regions(self, frame: str, paid: Collection[str]) -> NDArray[np.float64]:
        """Return the ``(R, 4)`` DontCare rectangles x1, y1, x2, y2 of a bought frame, in pixels.

        Args:
            frame: Frame id.
            paid: Frames whose labels were bought.

        Raises:
            UserError: If the frame was not bought.
        """
        self._check_paid([frame], paid)
        rows = [row['bbox'] for row in self._info(frame).get('instances', []) if row['bbox_label_3d'] == DONT_CARE]
        return np.array(rows, dtype=np.float64).reshape(-1, 4)

    def _check_paid(self, frames: Sequence[str], paid: Collection[str]) -> None:
        paid_ids = set(paid)
        unpaid = [name for name in frames if name not in paid_ids]
        if unpaid:
            raise UserError(f'{self.annotations}: frame {unpaid[0]} is not labelled; its boxes must not be shown')
