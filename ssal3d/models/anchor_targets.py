"""Which anchor learns which box: the rule of `Max3DIoUAssigner` with nearest-BEV overlaps, by one pass over a grid."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.ops.kernel import kernel

IGNORED, NEGATIVE = -1, 0
SMALLEST_UNION = np.float32(1e-6)


def assign_anchors(
    anchors: NDArray[np.float32],
    boxes: NDArray[np.float32],
    labels: NDArray[np.integer],
    thresholds: Sequence[tuple[float, float, float]],
    per_class: bool,
) -> NDArray[np.int32]:
    """Return what each anchor of a frame is: ignored (-1), negative (0) or a box's (its position + 1).

    An anchor takes the box that it overlaps most from the positive threshold on; below the negative one it is negative.
    Then each box takes its best anchors, equally good ones included, if they reach its lowest IoU.

    Args:
        anchors: ``(H, W, S, R, 4)`` anchors of S sizes and R rotations on a grid, without rotation: left, lower, right,
            upper edge in m. Anchors of a row of cells, size and rotation share their y, those of a column their x.
        boxes: ``(G, 4)`` boxes of the same kind.
        labels: ``(G,)`` classes of the boxes.
        thresholds: For each size: positive IoU, negative IoU, lowest IoU for a box's best anchors (above 0).
        per_class: Whether anchors of size s take boxes of class s only.

    Returns:
        ``(H, W, S, R)``.
    """
    limits = np.array(thresholds, dtype=np.float32)
    return _assign(anchors, boxes.astype(np.float32), labels.astype(np.int64), limits, per_class)


@kernel
def _assign(anchors: Any, boxes: Any, labels: Any, limits: Any, per_class: bool) -> Any:
    sizes = anchors.shape[2]
    assigned = np.zeros(anchors.shape[:4], dtype=np.int32)
    best = np.zeros(anchors.shape[:4], dtype=np.float32)
    highest = np.zeros((sizes, len(boxes)), dtype=np.float32)
    for size in range(sizes):
        for number in range(len(boxes)):
            if not per_class or labels[number] == size:
                highest[size, number] = _offer(anchors, boxes[number], size, number, limits, best, assigned)
    for size in range(sizes):
        for number in range(len(boxes)):
            if highest[size, number] >= limits[size, 2]:
                _take_best(anchors, boxes[number], size, number, highest[size, number], assigned)
    return assigned


@kernel
def _offer(anchors: Any, box: Any, size: int, number: int, limits: Any, best: Any, assigned: Any) -> Any:
    """Give a box those anchors of a size that overlap none before it as much; return its highest IoU with any."""
    rows, columns, _, rotations = anchors.shape[:4]
    highest = np.float32(0)
    for turn in range(rotations):
        for row in range(rows):
            if _apart(anchors[row, 0, size, turn], box, 1):
                continue
            for column in range(columns):
                anchor = anchors[row, column, size, turn]
                if _apart(anchor, box, 0):
                    continue
                iou = _iou(anchor, box)
                highest = max(highest, iou)
                if iou > best[row, column, size, turn]:
                    best[row, column, size, turn] = iou
                    kind = NEGATIVE if iou < limits[size, 1] else IGNORED
                    assigned[row, column, size, turn] = number + 1 if iou >= limits[size, 0] else kind
    return highest


@kernel
def _take_best(anchors: Any, box: Any, size: int, number: int, highest: Any, assigned: Any) -> None:
    """Give a box all anchors of a size that overlap it as much as the best one does."""
    rows, columns, _, rotations = anchors.shape[:4]
    for turn in range(rotations):
        for row in range(rows):
            if _apart(anchors[row, 0, size, turn], box, 1):
                continue
            for column in range(columns):
                anchor = anchors[row, column, size, turn]
                if not _apart(anchor, box, 0) and _iou(anchor, box) == highest:
                    assigned[row, column, size, turn] = number + 1


@kernel(inline='always')
def _apart(anchor: Any, box: Any, axis: int) -> Any:
    return anchor[axis + 2] <= box[axis] or box[axis + 2] <= anchor[axis]


@kernel(inline='always')
def _iou(anchor: Any, box: Any) -> Any:
    """Return the IoU with the same float32 operations as the stock calculator: equally good anchors must stay equal."""
    width = min(anchor[2], box[2]) - max(anchor[0], box[0])
    height = min(anchor[3], box[3]) - max(anchor[1], box[1])
    overlap = width * height
    area = (box[2] - box[0]) * (box[3] - box[1])
    union = area + (anchor[2] - anchor[0]) * (anchor[3] - anchor[1]) - overlap
    return overlap / max(union, SMALLEST_UNION)


def _warm_up() -> None:
    anchors = np.zeros((1, 1, 1, 1, 4), dtype=np.float32)
    boxes, labels = np.zeros((1, 4), dtype=np.float32), np.zeros(1, dtype=np.int64)
    assign_anchors(anchors, boxes, labels, [(0.6, 0.45, 0.45)], per_class=True)
