"""Overlap of rotated boxes in torch, on their device: ``(x, y, z, dx, dy, dz, yaw)``, gravity centre (m, rad)."""

from mmcv.ops import box_iou_rotated
from torch import Tensor


def bev_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the pairwise rotated BEV IoU, ``(N, M)`` in [0, 1], of ``(N, 7)`` and ``(M, 7)`` boxes."""
    if not (len(boxes) and len(others)):
        return boxes.new_zeros(len(boxes), len(others))
    plane = [0, 1, 3, 4, 6]
    return box_iou_rotated(boxes[:, plane].float(), others[:, plane].float()).to(boxes.dtype)


def best_bev_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the highest BEV IoU of each of ``(N, 7)`` boxes with any of ``(M, 7)`` others, 0 without others."""
    return bev_iou(boxes, others).amax(1) if len(others) else boxes.new_zeros(len(boxes))


def overlap_3d(boxes: Tensor, others: Tensor) -> Tensor:
    """Return which of ``(N, 7)`` and ``(M, 7)`` boxes share space (3D IoU above 0), ``(N, M)`` bool."""
    reach = (boxes[:, None, 5] + others[None, :, 5]) / 2
    return (bev_iou(boxes, others) > 0) & ((boxes[:, None, 2] - others[None, :, 2]).abs() < reach)
