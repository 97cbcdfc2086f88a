"""Neighbours within a radius on the CPU, with the indices that mmcv's CUDA kernels return."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssal3d.ops.kernel import kernel


def ball_query(min_radius: float, max_radius: float, num_samples: int, points: Tensor, centres: Tensor) -> Tensor:
    """Find the first points, by index, around each centre.

    Args:
        min_radius: Points nearer than this are left out, except those exactly at the centre.
        max_radius: Points at this distance or further are left out.
        num_samples: Neighbours per centre; missing ones repeat the first.
        points: ``(B, N, 3)`` points.
        centres: ``(B, M, 3)`` centres.

    Returns:
        ``(B, M, num_samples)`` int32 indices into N, all 0 where nothing is near. Points are sorted into cells, so the
        cost follows the points in the cells around each centre instead of N M.
    """
    result = torch.zeros((*centres.shape[:2], num_samples), dtype=torch.int32)
    for frame in range(len(points)):
        _query(points[frame], centres[frame], min_radius, max_radius, result[frame])
    return result


def stacked_ball_query(
    radius: float, num_samples: int, points: Tensor, point_counts: Tensor, centres: Tensor, centre_counts: Tensor
) -> Tensor:
    """Find the first points, by index, around each centre of the same frame.

    Args:
        radius: Points at this distance or further are left out.
        num_samples: Neighbours per centre; missing ones repeat the first.
        points: ``(N1 + N2 + ..., 3)`` points of all frames.
        point_counts: ``(B,)`` the numbers N1, N2, ...
        centres: ``(M1 + M2 + ..., 3)`` centres of all frames.
        centre_counts: ``(B,)`` the numbers M1, M2, ...

    Returns:
        ``(M1 + M2 + ..., num_samples)`` int32 indices into the points of the centre's frame; -1 in the first column
        (and 0 in the others) where nothing is near.
    """
    result = torch.zeros((len(centres), num_samples), dtype=torch.int32)
    first_point = first_centre = 0
    for num_points, num_centres in zip(point_counts.tolist(), centre_counts.tolist(), strict=True):
        rows = slice(first_centre, first_centre + num_centres)
        neighbours = _query(points[first_point : first_point + num_points], centres[rows], 0.0, radius, result[rows])
        result[rows, 0][~neighbours] = -1
        first_point, first_centre = first_point + num_points, rows.stop
    return result


def _query(points: Tensor, centres: Tensor, min_radius: float, max_radius: float, result: Tensor) -> Tensor:
    """Fill `result` for one frame and return which centres have a neighbour."""
    dtype = torch.float64 if points.dtype == torch.float64 else torch.float32
    cloud, around = (values.detach().to(dtype).contiguous().numpy() for values in (points, centres))
    number = cloud.dtype.type
    has_neighbour = np.zeros(len(around), dtype=np.bool_)
    # The CUDA kernels take the radii in float32 and square them there.
    inner, outer = number(np.float32(min_radius) ** 2), number(np.float32(max_radius) ** 2)
    if len(cloud) and len(around):
        columns = _sort_into_columns(cloud, float(max_radius))
        _query_columns(cloud, around, float(max_radius), inner, outer, columns, result.numpy(), has_neighbour)
    return torch.from_numpy(has_neighbour)


@kernel
def _sort_into_columns(points: Any, radius: Any) -> Any:
    """Sort points into square columns about as wide as the radius, by index within a column.

    Columns and not cubes: scans are wide and flat. Few far-off points make the columns wider instead of more numerous.
    Points that are not finite are in no column, because they are near nothing.

    Returns:
        The point indices column by column, where each column starts, and the grid (low x, low y, width, columns in x
        and y).
    """
    count = points.shape[0]
    low_x, low_y, high_x, high_y = np.inf, np.inf, -np.inf, -np.inf
    for k in range(count):
        if np.isfinite(points[k, 0]) and np.isfinite(points[k, 1]):
            low_x, high_x = min(low_x, points[k, 0]), max(high_x, points[k, 0])
            low_y, high_y = min(low_y, points[k, 1]), max(high_y, points[k, 1])
    width = max(radius, 1e-3)
    while ((high_x - low_x) / width + 1.0) * ((high_y - low_y) / width + 1.0) > 8.0 * count + 4096.0:
        width *= 1.5
    size_x = int((high_x - low_x) / width) + 1 if low_x <= high_x else 0
    size_y = int((high_y - low_y) / width) + 1 if low_y <= high_y else 0
    starts = np.zeros(size_x * size_y + 2, dtype=np.int64)
    column = np.empty(count, dtype=np.int64)
    for k in range(count):
        if np.isfinite(points[k, 0]) and np.isfinite(points[k, 1]):
            column[k] = int((points[k, 0] - low_x) / width) * size_y + int((points[k, 1] - low_y) / width)
        else:
            column[k] = size_x * size_y
        starts[column[k] + 1] += 1
    for c in range(size_x * size_y + 1):
        starts[c + 1] += starts[c]
    following = starts.copy()
    order = np.empty(count, dtype=np.int64)
    for k in range(count):
        order[following[column[k]]] = k
        following[column[k]] += 1
    return order, starts, (low_x, low_y, width, size_x, size_y)


@kernel
def _query_columns(
    points: Any, centres: Any, radius: Any, inner: Any, outer: Any, columns: Any, result: Any, found: Any
) -> Any:
    """For every centre keep the lowest indices of the neighbours in the columns around it."""
    order, starts, (low_x, low_y, width, size_x, size_y) = columns
    nsample = result.shape[1]
    reach = radius * 1.00001  # more than float32 rounding of a distance can add
    lowest = np.empty(nsample, dtype=np.int64)
    for m in range(centres.shape[0]):
        x, y, z = centres[m, 0], centres[m, 1], centres[m, 2]
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        first_x = max(0, int(np.floor((x - reach - low_x) / width)))
        last_x = min(size_x - 1, int(np.floor((x + reach - low_x) / width)))
        first_y = max(0, int(np.floor((y - reach - low_y) / width)))
        last_y = min(size_y - 1, int(np.floor((y + reach - low_y) / width)))
        count = 0
        for column_x in range(first_x, last_x + 1):
            for column in range(column_x * size_y + first_y, column_x * size_y + last_y + 1):
                for place in range(starts[column], starts[column + 1]):
                    k = order[place]
                    if count == nsample and k > lowest[nsample - 1]:
                        break
                    dx, dy, dz = x - points[k, 0], y - points[k, 1], z - points[k, 2]
                    squared = dx * dx + dy * dy + dz * dz
                    if squared == 0 or (squared >= inner and squared < outer):
                        slot = min(count, nsample - 1)
                        while slot > 0 and lowest[slot - 1] > k:
                            lowest[slot] = lowest[slot - 1]
                            slot -= 1
                        lowest[slot] = k
                        count = min(count + 1, nsample)
        found[m] = count > 0
        for slot in range(nsample if count else 0):
            result[m, slot] = lowest[slot if slot < count else 0]


def _warm_up() -> None:
    ball_query(0.0, 1.0, 2, torch.zeros(1, 1, 3), torch.zeros(1, 1, 3))
