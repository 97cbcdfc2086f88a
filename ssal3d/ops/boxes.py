"""Rotated boxes on the CPU: overlap in bird's-eye view (BEV) and 3D, points inside boxes.

Boxes are ``(x, y, z, dx, dy, dz, yaw)`` with the gravity centre in metres, yaw in radians counter-clockwise about z.
Kernels for single boxes are in `ssal3d.ops.box_kernels`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.ops.box_kernels import is_inside, membership_table, pair_bev_iou, pair_iou_3d
from ssal3d.ops.kernel import kernel

Array = NDArray[np.floating]


def bev_iou(boxes_a: Array, boxes_b: Array) -> Array:
    """Return the pairwise rotated BEV IoU.

    Args:
        boxes_a: ``(N, 7)`` boxes.
        boxes_b: ``(M, 7)`` boxes.

    Returns:
        ``(N, M)`` IoU in [0, 1]. Distant pairs are rejected by their circumcircles, the others cost one clipping.

    >>> a, b = np.array([[0, 0, 0, 4, 2, 1.5, 0.0]]), np.array([[1, 0, 0, 4, 2, 1.5, 0.0]])
    >>> float(bev_iou(a, b)[0, 0].round(4))
    0.6
    """
    return _bev_iou_matrix(_as_boxes(boxes_a), _as_boxes(boxes_b))


def iou_3d(boxes_a: Array, boxes_b: Array) -> Array:
    """Return the pairwise rotated 3D IoU of ``(N, 7)`` and ``(M, 7)`` boxes as ``(N, M)`` in [0, 1]."""
    return _iou_3d_matrix(_as_boxes(boxes_a), _as_boxes(boxes_b))


def overlaps_any(
    boxes: Array, offsets: NDArray[np.int64], others: Array, other_offsets: NDArray[np.int64], iou: float
) -> NDArray[np.bool_]:
    """Return which boxes overlap any other box of the same frame, whatever the classes.

    Args:
        boxes: ``(K, 7)`` boxes, frame by frame.
        offsets: ``(F + 1,)`` first box of every frame.
        others: ``(M, 7)`` boxes, frame by frame.
        other_offsets: ``(F + 1,)`` first box of every frame, same frames.
        iou: BEV IoU that must be exceeded.
    """
    return _overlaps_any(_as_boxes(boxes), offsets, _as_boxes(others), other_offsets, iou)


def points_in_boxes(points: Array, boxes: Array) -> NDArray[np.int32]:
    """Return for every point the first box that holds it.

    The borders follow mmcv's kernel: a point on a side face is outside, on the top or bottom face inside.

    Args:
        points: ``(N, >=3)`` points.
        boxes: ``(M, 7)`` boxes.

    Returns:
        ``(N,)`` box indices, -1 for points outside all boxes. O(N M) with a rejection by circumcircle.
    """
    return _first_box_of_points(_as_points(points), _as_boxes(boxes))


def points_per_box(points: Array, boxes: Array) -> NDArray[np.int32]:
    """Return the number of points in each of ``(M, 7)`` boxes; a point in two boxes counts in both."""
    return _count_points(_as_points(points), _as_boxes(boxes))


def _as_boxes(boxes: Array) -> Array:
    return np.ascontiguousarray(boxes, dtype=np.float64).reshape(-1, 7)


def _as_points(points: Array) -> NDArray[np.float32]:
    return np.ascontiguousarray(points, dtype=np.float32)


@kernel
def _bev_iou_matrix(boxes_a: Any, boxes_b: Any) -> Any:
    result = np.zeros((boxes_a.shape[0], boxes_b.shape[0]))
    for i in range(boxes_a.shape[0]):
        for j in range(boxes_b.shape[0]):
            result[i, j] = pair_bev_iou(boxes_a[i], boxes_b[j])
    return result


@kernel
def _overlaps_any(boxes: Any, offsets: Any, others: Any, other_offsets: Any, iou: Any) -> Any:
    result = np.zeros(boxes.shape[0], dtype=np.bool_)
    for frame in range(offsets.shape[0] - 1):
        for i in range(offsets[frame], offsets[frame + 1]):
            for j in range(other_offsets[frame], other_offsets[frame + 1]):
                if pair_bev_iou(boxes[i], others[j]) > iou:
                    result[i] = True
                    break
    return result


@kernel
def _iou_3d_matrix(boxes_a: Any, boxes_b: Any) -> Any:
    result = np.zeros((boxes_a.shape[0], boxes_b.shape[0]))
    for i in range(boxes_a.shape[0]):
        for j in range(boxes_b.shape[0]):
            result[i, j] = pair_iou_3d(boxes_a[i], boxes_b[j])
    return result


@kernel
def _first_box_of_points(points: Any, boxes: Any) -> Any:
    table = membership_table(boxes)
    result = np.full(points.shape[0], -1, dtype=np.int32)
    for i in range(points.shape[0]):
        for k in range(table.shape[0]):
            if is_inside(points[i, 0], points[i, 1], points[i, 2], table[k]):
                result[i] = k
                break
    return result


@kernel
def _count_points(points: Any, boxes: Any) -> Any:
    table = membership_table(boxes)
    result = np.zeros(boxes.shape[0], dtype=np.int32)
    for i in range(points.shape[0]):
        for k in range(table.shape[0]):
            if is_inside(points[i, 0], points[i, 1], points[i, 2], table[k]):
                result[k] += 1
    return result


def _warm_up() -> None:
    boxes, points, offsets = np.ones((1, 7)), np.ones((1, 4), np.float32), np.array([0, 1])
    bev_iou(boxes, boxes)
    iou_3d(boxes, boxes)
    overlaps_any(boxes, offsets, boxes, offsets, 0.5)
    points_in_boxes(points, boxes)
    points_per_box(points, boxes)
