"""Kernels for single boxes, to be called from other numba kernels; `ssal3d.ops.boxes` has the functions of arrays.

Boxes are ``(x, y, z, dx, dy, dz, yaw)`` with the gravity centre in metres, yaw in radians counter-clockwise about z.
"""

from typing import Any

import numpy as np

from ssal3d.ops.kernel import kernel


@kernel
def overlap_area(a: Any, b: Any) -> Any:
    """Area of the intersection of two BEV rectangles, to the last bit the same for (a, b) and (b, a).

    A rectangle whose length or width is not positive has no area.
    """
    if not (a[3] > 0.0 and a[4] > 0.0 and b[3] > 0.0 and b[4] > 0.0):
        return 0.0
    for axis in (0, 1, 3, 4, 6):
        if a[axis] < b[axis]:
            return _clipped_area(a, b)
        if b[axis] < a[axis]:
            return _clipped_area(b, a)
    return _clipped_area(a, b)


@kernel
def _clipped_area(a: Any, b: Any) -> Any:
    """Area of the intersection: a's corners, in b's frame, clipped by b's four sides."""
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


@kernel
def pair_bev_iou(a: Any, b: Any) -> Any:
    """BEV IoU of two boxes; 0 for degenerate ones."""
    overlap = overlap_area(a, b)
    union = a[3] * a[4] + b[3] * b[4] - overlap
    return overlap / union if overlap > 0.0 and union > 0.0 else 0.0


@kernel
def pair_iou_3d(a: Any, b: Any) -> Any:
    """3D IoU of two boxes; 0 for degenerate ones."""
    top = min(a[2] + a[5] * 0.5, b[2] + b[5] * 0.5)
    bottom = max(a[2] - a[5] * 0.5, b[2] - b[5] * 0.5)
    if top <= bottom:
        return 0.0
    overlap = overlap_area(a, b) * (top - bottom)
    union = a[3] * a[4] * a[5] + b[3] * b[4] * b[5] - overlap
    return overlap / union if overlap > 0.0 and union > 0.0 else 0.0


@kernel
def membership_table(boxes: Any) -> Any:
    """Per box: centre, half sizes, cos and sin of yaw, squared circumradius, in float32 like the points."""
    table = np.empty((boxes.shape[0], 9), dtype=np.float32)
    for k in range(boxes.shape[0]):
        for axis in range(3):
            table[k, axis] = boxes[k, axis]
            table[k, 3 + axis] = 0.5 * boxes[k, 3 + axis]
        table[k, 6], table[k, 7] = np.cos(boxes[k, 6]), np.sin(boxes[k, 6])
        table[k, 8] = 0.25 * (boxes[k, 3] * boxes[k, 3] + boxes[k, 4] * boxes[k, 4])
    return table


@kernel(inline='always')
def is_inside(x: Any, y: Any, z: Any, box: Any) -> Any:
    """Whether a point lies in a box given as a row of `membership_table`."""
    dx, dy = x - box[0], y - box[1]
    if dx * dx + dy * dy >= box[8]:
        return False
    along, across = dx * box[6] + dy * box[7], dy * box[6] - dx * box[7]
    return abs(along) < box[3] and abs(across) < box[4] and abs(z - box[2]) <= box[5]
