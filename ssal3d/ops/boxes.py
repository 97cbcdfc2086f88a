"""Rotated boxes on the CPU: overlap in bird's-eye view (BEV) and 3D, points inside boxes.

Boxes are ``(x, y, z, dx, dy, dz, yaw)`` with the gravity centre in metres, yaw in radians counter-clockwise about z.
Kernels whose name starts with an underscore work on single boxes and may be called from other numba kernels.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

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


@njit(cache=True, nogil=True)
def _overlap_area(a: Any, b: Any) -> Any:
    """Area of the intersection of two BEV rectangles: a's corners, in b's frame, clipped by b's four sides."""
    dx, dy = a[0] - b[0], a[1] - b[1]
    reach = 0.5 * (np.sqrt(a[3] * a[3] + a[4] * a[4]) + np.sqrt(b[3] * b[3] + b[4] * b[4]))
    if dx * dx + dy * dy >= reach * reach:
        return 0.0
    cos_b, sin_b = np.cos(b[6]), np.sin(b[6])
    centre_x, centre_y = dx * cos_b + dy * sin_b, -dx * sin_b + dy * cos_b
    turn = a[6] - b[6]
    cos_t, sin_t = np.cos(turn), np.sin(turn)
    polygon = np.empty((8, 2))  # four corners, each clip adds at most one
    clipped = np.empty((8, 2))
    half_x, half_y = a[3] * 0.5, a[4] * 0.5
    for k in range(4):
        corner_x = half_x if k == 0 or k == 3 else -half_x
        corner_y = half_y if k < 2 else -half_y
        polygon[k, 0] = centre_x + corner_x * cos_t - corner_y * sin_t
        polygon[k, 1] = centre_y + corner_x * sin_t + corner_y * cos_t
    size = 4
    for side in range(4):
        axis = side // 2
        sign = 1.0 if side % 2 == 0 else -1.0
        limit = 0.5 * (b[3] if axis == 0 else b[4])
        count = 0
        for k in range(size):
            following = k + 1 if k + 1 < size else 0
            here = limit - sign * polygon[k, axis]
            there = limit - sign * polygon[following, axis]
            if here >= 0.0:
                clipped[count, 0], clipped[count, 1] = polygon[k, 0], polygon[k, 1]
                count += 1
            if (here > 0.0 and there < 0.0) or (here < 0.0 and there > 0.0):
                share = here / (here - there)
                clipped[count, 0] = polygon[k, 0] + share * (polygon[following, 0] - polygon[k, 0])
                clipped[count, 1] = polygon[k, 1] + share * (polygon[following, 1] - polygon[k, 1])
                count += 1
        polygon, clipped = clipped, polygon
        size = count
        if size < 3:
            return 0.0
    area = 0.0
    for k in range(size):
        following = k + 1 if k + 1 < size else 0
        area += polygon[k, 0] * polygon[following, 1] - polygon[following, 0] * polygon[k, 1]
    return abs(area) * 0.5


@njit(cache=True, nogil=True)
def _bev_iou(a: Any, b: Any) -> Any:
    """BEV IoU of two boxes; 0 for degenerate ones."""
    overlap = _overlap_area(a, b)
    union = a[3] * a[4] + b[3] * b[4] - overlap
    return overlap / union if overlap > 0.0 and union > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _iou_3d(a: Any, b: Any) -> Any:
    """3D IoU of two boxes; 0 for degenerate ones."""
    top = min(a[2] + a[5] * 0.5, b[2] + b[5] * 0.5)
    bottom = max(a[2] - a[5] * 0.5, b[2] - b[5] * 0.5)
    if top <= bottom:
        return 0.0
    overlap = _overlap_area(a, b) * (top - bottom)
    union = a[3] * a[4] * a[5] + b[3] * b[4] * b[5] - overlap
    return overlap / union if overlap > 0.0 and union > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _bev_iou_matrix(boxes_a: Any, boxes_b: Any) -> Any:
    result = np.zeros((boxes_a.shape[0], boxes_b.shape[0]))
    for i in range(boxes_a.shape[0]):
        for j in range(boxes_b.shape[0]):
            result[i, j] = _bev_iou(boxes_a[i], boxes_b[j])
    return result


@njit(cache=True, nogil=True)
def _overlaps_any(boxes: Any, offsets: Any, others: Any, other_offsets: Any, iou: Any) -> Any:
    result = np.zeros(boxes.shape[0], dtype=np.bool_)
    for frame in range(offsets.shape[0] - 1):
        for i in range(offsets[frame], offsets[frame + 1]):
            for j in range(other_offsets[frame], other_offsets[frame + 1]):
                if _bev_iou(boxes[i], others[j]) > iou:
                    result[i] = True
                    break
    return result


@njit(cache=True, nogil=True)
def _iou_3d_matrix(boxes_a: Any, boxes_b: Any) -> Any:
    result = np.zeros((boxes_a.shape[0], boxes_b.shape[0]))
    for i in range(boxes_a.shape[0]):
        for j in range(boxes_b.shape[0]):
            result[i, j] = _iou_3d(boxes_a[i], boxes_b[j])
    return result


@njit(cache=True, nogil=True)
def _precompute(boxes: Any) -> Any:
    """Per box: centre, half sizes, cos and sin of yaw, squared circumradius, in float32 like the points."""
    table = np.empty((boxes.shape[0], 9), dtype=np.float32)
    for k in range(boxes.shape[0]):
        for axis in range(3):
            table[k, axis] = boxes[k, axis]
            table[k, 3 + axis] = 0.5 * boxes[k, 3 + axis]
        table[k, 6], table[k, 7] = np.cos(boxes[k, 6]), np.sin(boxes[k, 6])
        table[k, 8] = 0.25 * (boxes[k, 3] * boxes[k, 3] + boxes[k, 4] * boxes[k, 4])
    return table


@njit(cache=True, nogil=True, inline='always')
def _is_inside(x: Any, y: Any, z: Any, box: Any) -> Any:
    """Whether a point lies in a box given as a row of `_precompute`."""
    dx, dy = x - box[0], y - box[1]
    if dx * dx + dy * dy >= box[8]:
        return False
    along, across = dx * box[6] + dy * box[7], dy * box[6] - dx * box[7]
    return abs(along) < box[3] and abs(across) < box[4] and abs(z - box[2]) <= box[5]


@njit(cache=True, nogil=True)
def _first_box_of_points(points: Any, boxes: Any) -> Any:
    table = _precompute(boxes)
    result = np.full(points.shape[0], -1, dtype=np.int32)
    for i in range(points.shape[0]):
        for k in range(table.shape[0]):
            if _is_inside(points[i, 0], points[i, 1], points[i, 2], table[k]):
                result[i] = k
                break
    return result


@njit(cache=True, nogil=True)
def _count_points(points: Any, boxes: Any) -> Any:
    table = _precompute(boxes)
    result = np.zeros(boxes.shape[0], dtype=np.int32)
    for i in range(points.shape[0]):
        for k in range(table.shape[0]):
            if _is_inside(points[i, 0], points[i, 1], points[i, 2], table[k]):
                result[k] += 1
    return result


def _warm_up() -> None:
    boxes, points, offsets = np.ones((1, 7)), np.ones((1, 4), np.float32), np.array([0, 1])
    bev_iou(boxes, boxes)
    iou_3d(boxes, boxes)
    overlaps_any(boxes, offsets, boxes, offsets, 0.5)
    points_in_boxes(points, boxes)
    points_per_box(points, boxes)
