"""MMDetection3D's Waymo data set, reading its annotation file without trusting it and naming frames by their ids."""

from mmdet3d.datasets import WaymoDataset
from mmdet3d.registry import DATASETS

from ssal3d.data.frame_dataset import FrameDataset


@DATASETS.register_module()
class WaymoFrameDataset(FrameDataset, WaymoDataset):
    """`WaymoDataset` for val and test sets, and inside the views.

    It differs in four ways: annotation files cannot run code, a missing or cut scan is found at the start, frames that
    nobody labelled are legal in test mode (their ``eval_ann_info`` is None), and samples carry their ``frame_id``.

    Args:
        metainfo: As in `WaymoDataset`; a misspelt class is a `UserError`.
        kwargs: Of `WaymoDataset`.
    """
