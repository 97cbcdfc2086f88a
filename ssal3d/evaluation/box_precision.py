"""How many boxes are right: the precision of predictions and pseudo labels against annotated boxes."""

import torch
from torch import Tensor

from ssal3d.ops.torch_boxes import bev_iou


def count_right(
    boxes: Tensor,
    labels: Tensor,
    true_boxes: Tensor,
    true_labels: Tensor,
    num_classes: int,
    min_iou: float = 0.5,
) -> tuple[Tensor, Tensor]:
    """Return how many boxes of each class overlap a true box of their class, and how many there are.

    Two boxes on one true box are both right.

    Args:
        boxes: ``(N, 7)`` boxes of one frame with their gravity centre (m, rad).
        labels: ``(N,)`` their classes.
        true_boxes: ``(M, 7)`` annotated boxes of the frame.
        true_labels: ``(M,)`` their classes.
        num_classes: Number C of classes; labels outside [0, C) count nowhere.
        min_iou: BEV IoU that the overlap must exceed, in [0, 1).

    Returns:
        Right ones and all, ``(C,)`` int64 each, on the device of the labels.

    >>> car = torch.tensor([[10.0, 5, -1, 4, 2, 1.5, 0]])
    >>> right, total = count_right(torch.cat((car, car + 3)), torch.tensor([1, 1]), car, torch.tensor([1]), 2)
    >>> right.tolist(), total.tolist()
    ([0, 1], [0, 2])
    """
    same = labels[:, None] == true_labels.to(labels.device)[None]
    hits = ((bev_iou(boxes, true_boxes.to(boxes)) > min_iou) & same).any(1)
    member = labels[:, None] == torch.arange(num_classes, device=labels.device)
    return (member & hits[:, None]).sum(0), member.sum(0)
