"""MMDetection3D's KITTI data set, reading its annotation file without trusting it and naming frames by their ids."""

from typing import Any

from mmdet3d.datasets import KittiDataset
from mmdet3d.registry import DATASETS

from ssal3d.data.frame_dataset import FrameDataset
from ssal3d.data.frames import lidar_annotations


@DATASETS.register_module()
class KittiFrameDataset(FrameDataset, KittiDataset):
    """`KittiDataset` for val and test sets, and inside the views.

    It differs in five ways: annotation files cannot run code, a missing or cut scan is found at the start, frames that
    nobody labelled are legal in test mode (their ``eval_ann_info`` is None), labelled frames need no camera (their
    boxes are then in the LiDAR frame), and samples carry their ``frame_id``.

    Args:
        metainfo: As in `KittiDataset`; a misspelt class is a `UserError`.
        kwargs: Of `KittiDataset`.
    """

    def parse_labelled(self, info: dict[str, Any]) -> dict[str, Any] | None:
        """Parse the annotations of a labelled frame, with or without a camera."""
        return super().parse_labelled(info) if 'images' in info else lidar_annotations(self, info)
