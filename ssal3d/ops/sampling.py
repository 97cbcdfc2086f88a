"""Furthest point sampling on the CPU, index for index what mmcv's CUDA kernel defines."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssal3d.ops.kernel import kernel

_BUCKET = 64  # points that are accepted or skipped together
_FAR = np.float32(1e10)  # the distance to an empty set, as in the CUDA kernel


def furthest_point_sample(points: Tensor, num_points: int) -> Tensor:
    """Choose points one by one, each the furthest from those already chosen; the first one is point 0.

    Points are kept in buckets of neighbours. A new choice can only change a bucket whose bounding box is nearer to it
    than the bucket's furthest point, so most buckets are skipped: far below the O(N num_points) of the definition.

    Args:
        points: ``(B, N, 3)`` finite coordinates; distances are computed in float32.
        num_points: How many to choose; beyond N the choice repeats points.

    Returns:
        ``(B, num_points)`` int32 indices. Points at equal distance are taken in the order of the CUDA kernel's
        reduction tree (mmcv, furthest_point_sample_cuda_kernel.cuh).

    Raises:
        ValueError: If there are no points to choose from, or a coordinate is not finite.
    """
    clouds = _checked(points, num_points)
    chosen = np.zeros((len(clouds), num_points), dtype=np.int32)
    rank = _tie_rank(clouds.shape[1])
    for cloud, row in zip(clouds, chosen, strict=True):
        order = np.argsort(_morton_codes(cloud))
        _sample_buckets(np.ascontiguousarray(cloud[order].T), order, rank[order], row)
    return torch.from_numpy(chosen).to(points.device)


def furthest_point_sample_with_dist(distances: Tensor, num_points: int) -> Tensor:
    """Choose points like :func:`furthest_point_sample`, by given distances.

    Args:
        distances: ``(B, N, N)`` distances (or squared distances) between the points.
        num_points: How many to choose.

    Returns:
        ``(B, num_points)`` int32 indices. O(N num_points).

    Raises:
        ValueError: If there are no points to choose from, or a distance is not finite.
    """
    tables = _checked(distances, num_points)
    chosen = np.zeros((len(tables), num_points), dtype=np.int32)
    rank = _tie_rank(tables.shape[1])
    for table, row in zip(tables, chosen, strict=True):
        _sample_distances(table, rank, row)
    return torch.from_numpy(chosen).to(distances.device)


def _checked(values: Tensor, num_points: int) -> NDArray[np.float32]:
    if values.shape[1] == 0 and num_points > 0:
        raise ValueError(f'cannot sample {num_points} points from none; expected at least one point in every frame')
    array = np.ascontiguousarray(values.detach().float().cpu().numpy())
    if not np.isfinite(array).all():
        raise ValueError('found a coordinate that is not finite; remove such points before sampling')
    return array


def _tie_rank(num_points: int) -> NDArray[np.int32]:
    """Order in which points at equal distance win: by bit-reversed thread number, then by pass over the points."""
    bits = min(int(math.log(max(num_points, 1)) / math.log(2)), 10)
    index = np.arange(num_points, dtype=np.int32)
    thread, reversed_thread = index % (1 << bits), np.zeros(num_points, dtype=np.int32)
    for bit in range(bits):
        reversed_thread |= ((thread >> bit) & 1) << (bits - 1 - bit)
    passes = (num_points >> bits) + 1
    return reversed_thread * np.int32(passes) + (index >> bits)


@kernel
def _morton_codes(cloud: Any) -> Any:
    """Interleave 10 bits of each coordinate, so that neighbours in the sorted order are neighbours in space."""
    codes = np.empty(cloud.shape[0], dtype=np.uint32)
    low, step = np.empty(3, dtype=np.float64), np.empty(3, dtype=np.float64)
    extent = 0.0
    for axis in range(3):
        low[axis] = cloud[:, axis].min()
        extent = max(extent, cloud[:, axis].max() - low[axis])
    for axis in range(3):
        step[axis] = 1023.0 / extent if extent > 0.0 else 0.0
    for k in range(cloud.shape[0]):
        code = np.uint32(0)
        for axis in range(3):
            part = np.uint32((cloud[k, axis] - low[axis]) * step[axis])
            part = (part | (part << np.uint32(16))) & np.uint32(0x030000FF)
            part = (part | (part << np.uint32(8))) & np.uint32(0x0300F00F)
            part = (part | (part << np.uint32(4))) & np.uint32(0x030C30C3)
            part = (part | (part << np.uint32(2))) & np.uint32(0x09249249)
            code |= part << np.uint32(axis)
        codes[k] = code
    return codes


@kernel
def _sample_buckets(cloud: Any, order: Any, rank: Any, chosen: Any) -> Any:
    """Fill `chosen` from `(3, N)` points sorted by neighbourhood; `order` leads back to the original indices.

    "Furthest, then lowest rank" is one integer comparison: the bits of a positive float sort like the float.
    """
    x, y, z = cloud[0], cloud[1], cloud[2]
    count = x.shape[0]
    buckets = (count + _BUCKET - 1) // _BUCKET
    low, high = np.empty((3, buckets), dtype=np.float32), np.empty((3, buckets), dtype=np.float32)
    nearest = np.full(count, _FAR, dtype=np.float32)
    bits = nearest.view(np.int32)
    furthest = np.full(buckets, _FAR, dtype=np.float32)
    touched = np.empty(buckets, dtype=np.bool_)
    keys = np.empty(buckets, dtype=np.int64)
    behind = np.int64(2**31 - 1) - rank.astype(np.int64)
    at_rank = np.empty(rank.max() + 1, dtype=np.int64)
    current = 0
    for k in range(count):
        at_rank[rank[k]] = k
        if order[k] == 0:
            current = k
    for b in range(buckets):
        for axis in range(3):
            part = cloud[axis, b * _BUCKET : (b + 1) * _BUCKET]
            low[axis, b], high[axis, b] = part.min(), part.max()
    zero = np.float32(0.0)
    for j in range(chosen.shape[0]):
        chosen[j] = order[current]
        x1, y1, z1 = x[current], y[current], z[current]
        for b in range(buckets):
            # The same operations in the same order as for a point: rounding keeps this a lower bound.
            dx = max(max(low[0, b] - x1, x1 - high[0, b]), zero)
            dy = max(max(low[1, b] - y1, y1 - high[1, b]), zero)
            dz = max(max(low[2, b] - z1, z1 - high[2, b]), zero)
            touched[b] = dx * dx + dy * dy + dz * dz < furthest[b]
        for b in range(buckets):
            if touched[b]:
                start, stop = b * _BUCKET, min(count, (b + 1) * _BUCKET)
                for k in range(start, stop):
                    ax, ay, az = x[k] - x1, y[k] - y1, z[k] - z1
                    nearest[k] = min(ax * ax + ay * ay + az * az, nearest[k])
                top = np.int64(0)
                for k in range(start, stop):
                    top = max(top, (np.int64(bits[k]) << 32) | behind[k])
                keys[b] = top
                furthest[b] = nearest[at_rank[2**31 - 1 - (top & (2**31 - 1))]]
        best = np.int64(0)
        for b in range(buckets):
            best = max(best, keys[b])
        current = at_rank[2**31 - 1 - (best & (2**31 - 1))]


@kernel
def _sample_distances(table: Any, rank: Any, chosen: Any) -> Any:
    nearest = np.full(table.shape[0], _FAR, dtype=np.float32)
    current = 0
    for j in range(chosen.shape[0]):
        chosen[j] = current
        best, best_at = np.float32(-1.0), 0
        for k in range(table.shape[0]):
            nearest[k] = min(table[current, k], nearest[k])
            if nearest[k] > best or (nearest[k] == best and rank[k] < rank[best_at]):
                best, best_at = nearest[k], k
        current = best_at


def _warm_up() -> None:
    furthest_point_sample(torch.zeros(1, 1, 3), 1)
    furthest_point_sample_with_dist(torch.zeros(1, 1, 1), 1)
