"""Overlap and non-maximum suppression (NMS) of rotated BEV boxes for torch tensors on the CPU.

Boxes are ``(x, y, w, h, angle)``, the angle in radians counter-clockwise from x to y, as mmcv passes them.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssal3d.ops.box_kernels import overlap_area, pair_bev_iou
from ssal3d.ops.boxes import bev_iou, iou_3d
from ssal3d.ops.kernel import kernel

_SMALLEST_AREA = 1e-14  # mmcv gives boxes below it no overlap


def box_iou_rotated(boxes_a: Tensor, boxes_b: Tensor, *, mode: str = 'iou', aligned: bool = False) -> Tensor:
    """Return the overlap of rotated boxes.

    Args:
        boxes_a: ``(N, 5)`` boxes.
        boxes_b: ``(M, 5)`` boxes.
        mode: ``'iou'``, or ``'iof'`` for the overlap over the area of the first box.
        aligned: Pair the boxes row by row (N = M) instead of each with each.

    Returns:
        ``(N, M)``, or ``(N,)`` if aligned, of the type of the first boxes. Distant pairs cost two comparisons.
    """
    overlap = _overlap_aligned if aligned else _overlap_matrix
    result = overlap(_table(boxes_a), _table(boxes_b), mode == 'iof')
    return torch.from_numpy(result).to(boxes_a.dtype)


def nms_rotated(boxes: Tensor, scores: Tensor, threshold: float, max_kept: int | None = None) -> Tensor:
    """Keep the boxes that no better box overlaps.

    Args:
        boxes: ``(N, >=5)`` boxes.
        scores: ``(N,)`` scores.
        threshold: IoU above which the box with the lower score is dropped (strictly above, as mmcv's CUDA kernel has
            it; mmcv's CPU kernel also drops at equality).
        max_kept: Stop when so many boxes are kept.

    Returns:
        ``(K,)`` int64 indices of the kept boxes, best first. O(N K): each box is compared with the kept ones, and the
        overlap of the axis-aligned outlines decides most pairs.
    """
    order = scores.sort(0, descending=True)[1]
    kept = _suppress(_table(boxes[order]), float(threshold), len(boxes) if max_kept is None else max_kept)
    return order[torch.from_numpy(kept)]


def nms_upright(corners: Tensor, scores: Tensor, threshold: float, offset: int = 0) -> Tensor:
    """Keep the axis-aligned boxes that no better box overlaps.

    Args:
        corners: ``(N, 4)`` boxes as x1, y1, x2, y2.
        scores: ``(N,)`` scores.
        threshold: IoU above which the box with the lower score is dropped.
        offset: 1 where the last pixel belongs to the box, so that a width is x2 - x1 + 1; else 0.

    Returns:
        ``(K,)`` int64 indices of the kept boxes, best first; see `nms_rotated`.
    """
    low, size = corners[:, :2], corners[:, 2:4] - corners[:, :2] + offset
    return nms_rotated(torch.cat((low + size / 2, size, torch.zeros_like(size[:, :1])), 1), scores, threshold)


def _table(boxes: Tensor) -> NDArray[np.float64]:
    """Return the boxes as float64 ``(N, 7)`` rows of the layout of ssal3d.ops.boxes."""
    values = boxes.detach().double().numpy()
    table = np.zeros((len(values), 7))
    table[:, [0, 1, 3, 4, 6]] = values[:, :5]
    return table


@kernel
def _relative_overlap(a: Any, b: Any, over_first: Any) -> Any:
    area_a, area_b = a[3] * a[4], b[3] * b[4]
    if area_a < _SMALLEST_AREA or area_b < _SMALLEST_AREA:
        return 0.0
    overlap = overlap_area(a, b)
    return overlap / (area_a if over_first else area_a + area_b - overlap)


@kernel
def _overlap_matrix(boxes_a: Any, boxes_b: Any, over_first: Any) -> Any:
    result = np.zeros((boxes_a.shape[0], boxes_b.shape[0]))
    for i in range(boxes_a.shape[0]):
        for j in range(boxes_b.shape[0]):
            result[i, j] = _relative_overlap(boxes_a[i], boxes_b[j], over_first)
    return result


@kernel
def _overlap_aligned(boxes_a: Any, boxes_b: Any, over_first: Any) -> Any:
    result = np.zeros(boxes_a.shape[0])
    for i in range(boxes_a.shape[0]):
        result[i] = _relative_overlap(boxes_a[i], boxes_b[i], over_first)
    return result


@kernel
def _suppress(boxes: Any, threshold: Any, max_kept: Any) -> Any:
    """Return the indices of the first kept ones of boxes sorted by falling score."""
    count = boxes.shape[0]
    left, right = np.empty(count), np.empty(count)  # outlines of the kept boxes
    lower, upper, areas = np.empty(count), np.empty(count), np.empty(count)
    kept = np.empty(count, dtype=np.int64)
    size = 0
    for i in range(count):
        if size == max_kept:
            break
        box = boxes[i]
        cos, sin = abs(np.cos(box[6])), abs(np.sin(box[6]))
        half_x, half_y = 0.5 * (box[3] * cos + box[4] * sin), 0.5 * (box[3] * sin + box[4] * cos)
        x0, x1, y0, y1, area = box[0] - half_x, box[0] + half_x, box[1] - half_y, box[1] + half_y, box[3] * box[4]
        suppressed = False
        for k in range(size):
            width, height = min(x1, right[k]) - max(x0, left[k]), min(y1, upper[k]) - max(y0, lower[k])
            if width > 0.0 and height > 0.0:
                # IoU grows with the overlap, and the outlines bound the overlap from above.
                most = min(width * height, area, areas[k])
                if (
                    most > 0.999999 * threshold * (area + areas[k] - most)
                    and pair_bev_iou(boxes[kept[k]], box) > threshold
                ):
                    suppressed = True
                    break
        if not suppressed:
            left[size], right[size], lower[size], upper[size], areas[size] = x0, x1, y0, y1, area
            kept[size] = i
            size += 1
    return kept[:size]


def _warm_up() -> None:
    boxes = torch.ones(2, 5)
    box_iou_rotated(boxes, boxes)
    box_iou_rotated(boxes, boxes, aligned=True)
    nms_rotated(boxes, torch.ones(2), 0.5)
    for overlap in (bev_iou, iou_3d):
        overlap(np.ones((1, 7)), np.ones((1, 7)))
