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
_FRAMES = 256  # frames whose boxes are looked at together; their tables fit into the cache
_PAIRS = 2**15  # close pairs whose overlaps are computed together, at least, where there are as many


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
    boxes, others = np.asarray(boxes).reshape(-1, 7), np.asarray(others).reshape(-1, 7)
    found = [
        (first, second, paired_bev_iou(boxes[first], others[second]))
        for first, second in _joined(_close_pairs(boxes, offsets, others, other_offsets))
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
    """Yield the pairs of each frame whose circumcircles meet, some frames at a time, at least once."""
    frames = len(offsets) - 1
    for low in range(0, max(frames, 1), _FRAMES):
        high = min(low + _FRAMES, frames)
        start, other_start = int(offsets[low]), int(other_offsets[low])
        own = np.asarray(boxes[start : offsets[high], [0, 1, 3, 4]], dtype=np.float64)
        their = np.asarray(others[other_start : other_offsets[high], [0, 1, 3, 4]], dtype=np.float64)
        frame = np.repeat(np.arange(high - low), np.diff(offsets[low : high + 1]))
        reach, other_reach = np.hypot(own[:, 2], own[:, 3]) / 2, np.hypot(their[:, 2], their[:, 3]) / 2
        first, second = _near_in_x(
            own[:, 0], reach, frame, their[:, 0], other_reach, other_offsets[low : high + 1] - other_start
        )
        gap = np.square(own[first, 0] - their[second, 0]) + np.square(own[first, 1] - their[second, 1])
        close = np.flatnonzero(gap < np.square(reach[first] + other_reach[second]))
        yield first[close] + start, second[close] + other_start


def _near_in_x(
    x: Array, reach: Array, frame: Indices, other_x: Array, other_reach: Array, other_offsets: Indices
) -> tuple[Indices, Indices]:
    """Return the pairs of each frame that may meet, judged by x alone: one comparison of float32 numbers a pair.

    The tolerance is far above the rounding of float32, so that no pair is lost.
    """
    counts = np.diff(other_offsets)
    width = int(counts.max(initial=0))
    columns = np.arange(width)
    there = columns < counts[:, None]
    left, right = (np.full(there.shape, np.inf, dtype=np.float32) for _ in range(2))
    slack = 1e-5 * (np.abs(other_x) + other_reach) + 1e-5
    left[there], right[there] = other_x - other_reach - slack, -(other_x + other_reach + slack)
    slack = 1e-5 * (np.abs(x) + reach)
    begin, end = (x - reach - slack).astype(np.float32), (x + reach + slack).astype(np.float32)
    near = left[frame] <= end[:, None]
    near &= right[frame] <= -begin[:, None]
    first, column = np.divmod(np.flatnonzero(near), max(width, 1))
    return first, other_offsets[frame[first]] + column


def _joined(pairs: Iterator[tuple[Indices, Indices]]) -> Iterator[tuple[Indices, Indices]]:
    """Yield pairs in larger portions, the last one whatever its size."""
    waiting, total = [], 0
    for pair in pairs:
        waiting.append(pair)
        total += len(pair[0])
        if total >= _PAIRS:
            yield np.concatenate([first for first, _ in waiting]), np.concatenate([second for _, second in waiting])
            waiting, total = [], 0
    if waiting:
        yield np.concatenate([first for first, _ in waiting]), np.concatenate([second for _, second in waiting])


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
