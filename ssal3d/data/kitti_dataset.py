"""MMDetection3D's KITTI data set, reading its annotation file without trusting it and naming frames by their ids."""

from typing import Any

import numpy as np
from mmdet3d.datasets import KittiDataset
from mmdet3d.registry import DATASETS
from mmdet3d.structures import LiDARInstance3DBoxes

from ssal3d.data.frame_dataset import FrameDataset
from ssal3d.data.frames import lidar_annotations
from ssal3d.data.kitti_format import camera_turn


@DATASETS.register_module()
class KittiFrameDataset(FrameDataset, KittiDataset):
    """`KittiDataset` for val and test sets, and inside the views.

    It differs in six ways: annotation files cannot run code, a missing or cut scan is found at the start, frames that
    nobody labelled are legal in test mode (their ``eval_ann_info`` is None), labelled frames need no camera (their
    boxes are then in the LiDAR frame), the camera need not look along the LiDAR's x axis, and samples carry their
    ``frame_id``.

    Args:
        metainfo: As in `KittiDataset`; a misspelt class is a `UserError`.
        kwargs: Of `KittiDataset`.
    """

    def parse_labelled(self, info: dict[str, Any]) -> dict[str, Any] | None:
        """Parse the annotations of a labelled frame, with or without a camera."""
        if 'images' not in info:
            return lidar_annotations(self, info)
        annotations = super().parse_labelled(info)
        turn = camera_turn(np.array(info['images']['CAM2']['lidar2cam']))
        if turn and annotations is not None and isinstance(annotations['gt_bboxes_3d'], LiDARInstance3DBoxes):
            annotations['gt_bboxes_3d'].tensor[:, 6] += turn  # which MMDetection3D leaves out
            annotations['gt_bboxes_3d'].limit_yaw(period=2 * np.pi)
        return annotations
