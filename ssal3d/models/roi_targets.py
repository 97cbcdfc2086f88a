"""What the RoIs of a labelled frame should have been: KECOR (arXiv 2307.07942) learns its proxy from these."""

from typing import Any

import torch
from mmdet3d.structures import BaseInstance3DBoxes
from torch import Tensor


def roi_targets(
    roi_head: Any, rois: BaseInstance3DBoxes, roi_labels: Tensor, boxes: BaseInstance3DBoxes, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the targets of all RoIs of one frame, as the box head would be trained on them.

    Args:
        roi_head: Where the thresholds and the box coder are.
        rois: R RoIs.
        roi_labels: ``(R,)`` their classes.
        boxes: G annotated boxes.
        labels: ``(G,)`` their classes.

    Returns:
        ``(R,)`` confidence targets in [0, 1] from the IoU with the best box of the same class, and ``(R, 7)``
        residuals to it, zero where the IoU is below the training threshold.
    """
    overlaps = rois.overlaps(rois, boxes) * (roi_labels[:, None] == labels[None])
    ious, nearest = overlaps.max(1) if len(labels) else (rois.tensor.new_zeros(len(rois)), None)
    config: Any = roi_head.train_cfg
    assigners = config.assigner if isinstance(config.assigner, list) else [config.assigner]
    positive = ious >= min(assigner.pos_iou_thr for assigner in assigners)
    residuals = rois.tensor.new_zeros(len(rois), 7)
    order = torch.cat((positive.nonzero().flatten(), (~positive).nonzero().flatten()))  # the head wants positives first
    matched = boxes.tensor[nearest[positive]] if nearest is not None else rois.tensor[:0]
    scores, encoded, *_ = roi_head.bbox_head._get_target_single(rois.tensor[positive], matched, ious[order], cfg=config)
    residuals[positive] = encoded.reshape(-1, 7)
    return torch.empty_like(ious).index_copy_(0, order, scores), residuals
