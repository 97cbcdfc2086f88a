"""Corners and overlaps of boxes in NumPy alone: for work that is done before a compiled kernel is loaded.

`ssal3d.ops.boxes` has the same overlap as numba kernels; loading numba and a kernel takes half a second, which is more
than a whole query needs. Boxes are ``(x, y, z, dx, dy, dz, yaw)`` with the gravity centre in metres, yaw in radians
counter-clockwise about z.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.int64]
_ROUNDING = 1e-13  # of the squared sizes: a smaller overlap is what rounding leaves of none
_PAIRS = 2**17  # pairs looked at together; their columns fit into the cache


def bev_corners(boxes: Array) -> Array:
    """Return the four ground corners of ``(N, 7)`` boxes as ``(N, 4, 2)``, counter-clockwise from front left."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    half = boxes[:, None, 3:5] / 2 * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    cos, sin = np.cos(boxes[:, 6])[:, None], np.sin(boxes[:, 6])[:, None]
    turned = np.stack((half[..., 0] * cos - half[..., 1] * sin, half[..., 0] * sin + half[..., 1] * cos), -1)
    return turned + boxes[:, None, :2]


def corners_3d(boxes: Array) -> Array:
    """Return the eight corners of ``(N, 7)`` boxes as ``(N, 8, 3)``: four at the bottom, then four at the top."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    ground = bev_corners(boxes)
    levels = [np.repeat((boxes[:, 2] + sign * boxes[:, 5] / 2)[:, None, None], 4, axis=1) for sign in (-1, 1)]
    return np.concatenate([np.concatenate((ground, level), -1) for level in levels], axis=1)


def overlapping_pairs(
    boxes: Array, offsets: Indices, others: Array, other_offsets: Indices
) -> tuple[Indices, Indices, NDArray[np.float64]]:
    """Return which boxes of a frame overlap which others of the same frame in bird's-eye view (BEV).

    Args:
        boxes: ``(K, 7)`` boxes, frame by frame.
        offsets: ``(F + 1,)`` first box of every frame.
        others: ``(M, 7)`` boxes, frame by frame.
        other_offsets: ``(F + 1,)`` first box of every frame, same frames.

    Returns:
        Positions in ``boxes``, positions in ``others`` and BEV IoU > 0 of all overlapping pairs, ordered by position.
        Costs some nanoseconds for every pair of a frame and 0.2 microseconds for every pair of close boxes.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    others = np.asarray(others, dtype=np.float64).reshape(-1, 7)
    found = [
        (first, second, paired_bev_iou(boxes[first], others[second]))
        for first, second in _close_pairs(boxes, offsets, others, other_offsets)
    ]
    first, second, iou = (np.concatenate(parts) for parts in zip(*found))
    overlap = iou > 0
    return first[overlap], second[overlap], iou[overlap]


def paired_bev_iou(boxes_a: Array, boxes_b: Array) -> NDArray[np.float64]:
    """Return the rotated BEV IoU of each pair of ``(N, 7)`` and ``(N, 7)`` boxes as ``(N,)`` in [0, 1].

    0 for boxes without area.

    >>> a, b = np.array([[0, 0, 0, 4, 2, 1.5, 0.0]]), np.array([[1, 0, 0, 4, 2, 1.5, 0.0]])
    >>> float(paired_bev_iou(a, b)[0].round(4))
    0.6
    """
    a, b = (np.asarray(boxes, dtype=np.float64).reshape(-1, 7) for boxes in (boxes_a, boxes_b))
    overlap = _area_inside(_corners_seen_from(a, b), b[:, 3] / 2, b[:, 4] / 2)
    union = a[:, 3] * a[:, 4] + b[:, 3] * b[:, 4] - overlap
    certain = overlap > _ROUNDING * (np.square(a[:, 3:5]).sum(axis=1) + np.square(b[:, 3:5]).sum(axis=1))
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=certain & (union > 0))


def _close_pairs(
    boxes: Array, offsets: Indices, others: Array, other_offsets: Indices
) -> Iterator[tuple[Indices, Indices]]:
    """Yield the pairs of each frame whose circumcircles meet, a chunk of boxes at a time, at least one chunk."""
    partners = np.repeat(np.diff(other_offsets), np.diff(offsets))
    first_partner = np.repeat(other_offsets[:-1], np.diff(offsets))
    ends = np.cumsum(partners)
    x, y, reach = boxes[:, 0], boxes[:, 1], np.hypot(boxes[:, 3], boxes[:, 4]) / 2
    other_x, other_y, other_reach = others[:, 0], others[:, 1], np.hypot(others[:, 3], others[:, 4]) / 2
    start = 0
    while True:
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS, side='right')))
        counts = partners[start:stop]
        first = np.repeat(np.arange(start, start + len(counts)), counts)
        shift = first_partner[start:stop] - (np.cumsum(counts) - counts)
        second = np.arange(len(first)) + np.repeat(shift, counts)
        gap = np.square(x[first] - other_x[second]) + np.square(y[first] - other_y[second])
        close = np.flatnonzero(gap < np.square(reach[first] + other_reach[second]))
        yield first[close], second[close]
        start = stop
        if start >= len(boxes):
            return


def _corners_seen_from(a: Array, b: Array) -> tuple[Array, Array]:
    """Return x and y of the corners of the boxes a in the frames of the boxes b, each as ``(4, N)``, in order."""
    cos, sin = np.cos(b[:, 6]), np.sin(b[:, 6])
    dx, dy = a[:, 0] - b[:, 0], a[:, 1] - b[:, 1]
    x, y = dx * cos + dy * sin, dy * cos - dx * sin
    cos, sin = np.cos(a[:, 6] - b[:, 6]), np.sin(a[:, 6] - b[:, 6])
    along, across = np.array([1, -1, -1, 1])[:, None] * a[:, 3] / 2, np.array([1, 1, -1, -1])[:, None] * a[:, 4] / 2
    return x + along * cos - across * sin, y + along * sin + across * cos


def _area_inside(corners: tuple[Array, Array], half_x: Array, half_y: Array) -> NDArray[np.float64]:
    """Return the areas of N convex polygons inside ``|x| <= half_x, |y| <= half_y``.

    The area between two curves is the difference of their integrals over x. So it is the sum over the sides of a
    polygon of the integral of y, as far as x is inside the rectangle and with y limited to it; the lower sides run the
    other way and count negatively. Nothing is cut, so nothing depends on how touching sides are told apart.
    """
    x, y = corners
    left, right = np.clip(x, -half_x, half_x), np.clip(np.roll(x, -1, axis=0), -half_x, half_x)
    run, rise = np.roll(x, -1, axis=0) - x, np.roll(y, -1, axis=0) - y
    upright = run == 0  # has no integral
    run[upright] = 1
    begin = y + rise * np.clip((left - x) / run, 0, 1)
    end = y + rise * np.clip((right - x) / run, 0, 1)
    return np.abs(((right - left) * _mean_of_limited(begin, end, half_y)).sum(axis=0))


def _mean_of_limited(begin: Array, end: Array, limit: Array) -> Array:
    """Return the mean of values on the way from ``begin`` to ``end``, each limited to ``[-limit, limit]``."""
    low, high = np.clip(begin, -limit, limit), np.clip(end, -limit, limit)
    way = end - begin
    way[way == 0] = 1
    between = (high - low) / way  # share of the way inside the limits; before and after it the value stands still
    before = np.clip((low - begin) / way, 0, 1 - between)
    return before * low + between * (low + high) / 2 + (1 - before - between) * high
