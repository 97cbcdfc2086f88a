"""Which points lie in which boxes, for many points and boxes: a BEV grid of the boxes spares most tests."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.ops.box_kernels import is_inside, membership_table
from ssal3d.ops.kernel import kernel

CELLS = 64  # grid cells along each axis


class Members(NamedTuple):
    """Points of M boxes: ``points[offsets[k]:offsets[k + 1]]`` are the ascending indices of those in box ``k``."""

    points: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """``(M,)`` points in each box."""
        return np.diff(self.offsets)


def points_of_boxes(points: NDArray[np.float32], boxes: NDArray[np.floating]) -> Members:
    """Return the points in each box; a point in two boxes belongs to both.

    The borders are those of `ssal3d.ops.boxes.points_in_boxes`. Points and boxes that are not finite hold nothing.
    Linear in the points where boxes are spread out; O(N M) where all boxes share one place.

    Args:
        points: ``(N, >=3)`` points.
        boxes: ``(M, 7)`` boxes.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    return Members(*_points_of_boxes(points, np.ascontiguousarray(boxes, dtype=np.float64).reshape(-1, 7)))


def outside_boxes(points: NDArray[np.float32], boxes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return ``(N,)`` which points lie in none of ``(M, 7)`` boxes."""
    outside = np.ones(len(points), dtype=np.bool_)
    outside[points_of_boxes(points, boxes).points] = False
    return outside


@kernel
def _points_of_boxes(points: Any, boxes: Any) -> Any:
    table = membership_table(boxes)
    low_x, low_y, scale_x, scale_y, starts, entries = _box_grid(table)
    capacity = points.shape[0] + 16
    hit_points, hit_boxes = np.empty(capacity, dtype=np.int32), np.empty(capacity, dtype=np.int32)
    offsets = np.zeros(boxes.shape[0] + 1, dtype=np.int64)
    hits = 0
    for i in range(points.shape[0]):
        column, row = (points[i, 0] - low_x) * scale_x, (points[i, 1] - low_y) * scale_y
        if not (column >= 0.0 and column < CELLS and row >= 0.0 and row < CELLS):  # also rejects NaN
            continue
        cell = int(column) * CELLS + int(row)
        for entry in range(starts[cell], starts[cell + 1]):
            box = entries[entry]
            if is_inside(points[i, 0], points[i, 1], points[i, 2], table[box]):
                if hits == capacity:
                    hit_points = np.concatenate((hit_points, np.empty(capacity, dtype=np.int32)))
                    hit_boxes = np.concatenate((hit_boxes, np.empty(capacity, dtype=np.int32)))
                    capacity *= 2
                hit_points[hits], hit_boxes[hits] = i, box
                offsets[box + 1] += 1
                hits += 1
    for k in range(boxes.shape[0]):
        offsets[k + 1] += offsets[k]
    members, filled = np.empty(hits, dtype=np.int32), offsets.copy()
    for hit in range(hits):  # counting sort by box keeps the points in ascending order
        members[filled[hit_boxes[hit]]] = hit_points[hit]
        filled[hit_boxes[hit]] += 1
    return members, offsets


@kernel
def _box_grid(table: Any) -> Any:
    """List the boxes that reach into each cell: origin, cells per metre, and CSR offsets and entries over cells."""
    reach = np.empty(table.shape[0])
    low_x, low_y, high_x, high_y = np.inf, np.inf, -np.inf, -np.inf
    for k in range(table.shape[0]):
        x, y = float(table[k, 0]), float(table[k, 1])
        reach[k] = np.sqrt(float(table[k, 8])) * 1.0001 + 1e-3  # the tests run in float32
        if not np.isfinite(x + y + reach[k]):
            reach[k] = -1.0
            continue
        low_x, low_y = min(low_x, x - reach[k]), min(low_y, y - reach[k])
        high_x, high_y = max(high_x, x + reach[k]), max(high_y, y + reach[k])
    if not high_x > low_x:
        low_x = low_y = high_x = high_y = 0.0
    scale_x = CELLS / (high_x - low_x + 1e-3)
    scale_y = CELLS / (high_y - low_y + 1e-3)
    starts = np.zeros(CELLS * CELLS + 1, dtype=np.int32)
    entries = np.empty(0, dtype=np.int32)
    for filling in (False, True):  # count the boxes of every cell, then list them
        if filling:
            starts = np.cumsum(starts).astype(np.int32)  # ends, counted down to starts while filling
            entries = np.empty(starts[-1], dtype=np.int32)
        for k in range(table.shape[0]):
            if reach[k] < 0.0:
                continue
            x, y = float(table[k, 0]) - low_x, float(table[k, 1]) - low_y
            for column in range(int((x - reach[k]) * scale_x), int((x + reach[k]) * scale_x) + 1):
                for row in range(int((y - reach[k]) * scale_y), int((y + reach[k]) * scale_y) + 1):
                    cell = column * CELLS + row
                    if filling:
                        starts[cell] -= 1
                        entries[starts[cell]] = k
                    else:
                        starts[cell] += 1
    return low_x, low_y, scale_x, scale_y, starts, entries


def _warm_up() -> None:
    outside_boxes(np.zeros((1, 4), np.float32), np.zeros((1, 7)))
