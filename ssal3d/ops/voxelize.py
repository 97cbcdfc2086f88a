"""Points into voxels with the outputs of mmcv's kernels: without a dense grid on the CPU, by sorting elsewhere."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssal3d.ops.kernel import kernel


def hard_voxelize(
    points: Tensor, voxel_size: Sequence[float], point_range: Sequence[float], max_points: int, max_voxels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sort points into voxels of limited size.

    mmcv clears a dense grid of all possible voxels for each frame (369 MB for the KITTI grid); here a hash table of the
    voxels that exist gives the same result in O(N).

    Args:
        points: ``(N, C)`` points, x, y, z first.
        voxel_size: Three sizes in metres.
        point_range: Low x, y, z and high x, y, z; points outside (or not finite) are dropped.
        max_points: Points kept per voxel, in the order of the points; -1 for no limit is not supported, as in mmcv.
        max_voxels: Voxels kept, in the order of their first points; -1 for no limit.

    Returns:
        ``(V, max_points, C)`` points padded with zeros, ``(V, 3)`` int32 voxel coordinates (z, y, x) and ``(V,)`` int32
        numbers of points.
    """
    coordinates = dynamic_voxelize(points, voxel_size, point_range)
    cloud = _numbers(points)
    limit = len(cloud) if max_voxels < 0 else max_voxels
    voxel_of_point, slot, first, counts = _assign(
        coordinates.numpy(), _grid_size(voxel_size, point_range), max_points, limit
    )
    voxels = np.zeros((len(first), max_points, points.shape[1]), dtype=cloud.dtype)
    _scatter(cloud, voxel_of_point, slot, voxels)
    return torch.from_numpy(voxels).to(points.dtype), coordinates[torch.from_numpy(first)], torch.from_numpy(counts)


def hard_voxelize_by_sorting(
    points: Tensor, voxel_size: Sequence[float], point_range: Sequence[float], max_points: int, max_voxels: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sort points into voxels of limited size on any device, without waiting for it.

    mmcv's deterministic kernel on CUDA walks through all points in one thread and compares every point with all before
    it, O(N^2). Here a stable sort brings the points of a voxel together in their order; O(N log N), the same result.

    Args:
        points: ``(N, C)`` points, x, y, z first.
        voxel_size: Three sizes in metres.
        point_range: Low x, y, z and high x, y, z; points outside (or not finite) are dropped.
        max_points: Points kept per voxel, in the order of the points.
        max_voxels: Voxels kept, in the order of their first points.

    Returns:
        ``(max_voxels, max_points, C)`` points, ``(max_voxels, 3)`` int32 coordinates (z, y, x), ``(max_voxels,)`` int32
        numbers of points, each padded with zeros, and the number of voxels.
    """
    size, low = (np.asarray(values, dtype=np.float32).tolist() for values in (voxel_size, point_range[:3]))
    grid = _grid_size(voxel_size, point_range).tolist()
    # Tensors of the device, because CUDA multiplies with the reciprocal of a number of the host: points on faces of
    # voxels would fall to the other side.
    sizes = [torch.full((), side, dtype=points.dtype, device=points.device) for side in size]
    cells = [((points[:, axis] - low[axis]) / sizes[axis]).floor() for axis in range(3)]
    inside = torch.stack([(cell >= 0) & (cell < count) for cell, count in zip(cells, grid)]).all(0)
    x, y, z = (torch.where(inside, cell, 0).long() for cell in cells)
    nowhere = grid[0] * grid[1] * grid[2]
    key, order = torch.where(inside, (z * grid[1] + y) * grid[0] + x, nowhere).sort(stable=True)
    row = torch.arange(len(points), device=points.device)
    begins = torch.cat((key[:1] >= 0, key[1:] != key[:-1]))
    begin = torch.where(begins, row, 0).cummax(0).values  # where the point's voxel begins among the sorted points
    first = order[begin]
    opens = torch.zeros_like(inside)  # which points are the first of a voxel, in the order of the points
    opens[first] = inside[first]
    voxel, slot = opens.cumsum(0)[first] - 1, row - begin
    stays = (key < nowhere) & (voxel < max_voxels)
    kept = stays & (slot < max_points)
    # One row more takes what is dropped.
    place = torch.where(kept, voxel * max_points + slot, max_voxels * max_points)
    voxels = points.new_zeros(max_voxels * max_points + 1, points.shape[1])
    voxels[place] = points[order]
    coordinates, counts = (
        torch.zeros(max_voxels + 1, *more, dtype=torch.int32, device=key.device) for more in ((3,), ())
    )
    coordinates[torch.where(stays, voxel, max_voxels)] = torch.stack((z, y, x), 1)[order].int()
    counts.index_add_(0, torch.where(kept, voxel, max_voxels), kept.int())
    taken = voxels[:-1].view(max_voxels, max_points, -1)
    return taken, coordinates[:-1], counts[:-1], opens.sum().clamp(max=max_voxels)


def dynamic_voxelize(points: Tensor, voxel_size: Sequence[float], point_range: Sequence[float]) -> Tensor:
    """Return the ``(N, 3)`` int32 voxel coordinates (z, y, x) of ``(N, C)`` points, all -1 outside the range."""
    cloud = _numbers(points[:, :3])
    size, low = np.asarray(voxel_size, dtype=np.float32), np.asarray(point_range[:3], dtype=np.float32)
    return torch.from_numpy(_coordinates(cloud, size, low, _grid_size(voxel_size, point_range)))


def _numbers(points: Tensor) -> NDArray[np.floating]:
    """Return the points as float64 if they are, else as float32."""
    return points.detach().to(points.dtype if points.dtype == torch.float64 else torch.float32).contiguous().numpy()


def _grid_size(voxel_size: Sequence[float], point_range: Sequence[float]) -> NDArray[np.int64]:
    """Return the number of voxels in x, y and z, rounded like mmcv: halves away from zero."""
    size, limits = np.asarray(voxel_size, dtype=np.float32), np.asarray(point_range, dtype=np.float32)
    return np.floor((limits[3:] - limits[:3]) / size + np.float32(0.5)).astype(np.int64)


@kernel
def _coordinates(points: Any, size: Any, low: Any, grid: Any) -> Any:
    result = np.full((points.shape[0], 3), -1, dtype=np.int32)
    for k in range(points.shape[0]):
        x = np.floor((points[k, 0] - low[0]) / size[0])
        y = np.floor((points[k, 1] - low[1]) / size[1])
        z = np.floor((points[k, 2] - low[2]) / size[2])
        # Written so that NaN is outside.
        if x >= 0 and x < grid[0] and y >= 0 and y < grid[1] and z >= 0 and z < grid[2]:
            result[k, 0], result[k, 1], result[k, 2] = np.int32(z), np.int32(y), np.int32(x)
    return result


@kernel
def _assign(coordinates: Any, grid: Any, max_points: Any, max_voxels: Any) -> Any:
    """Give every point its voxel and its slot in it (-1: dropped), voxels numbered by their first points."""
    count = coordinates.shape[0]
    capacity = 64
    while capacity < 2 * count:
        capacity *= 2
    keys = np.full(capacity, -1, dtype=np.int64)  # open addressing
    values = np.empty(capacity, dtype=np.int32)
    voxel_of_point, slot = np.full(count, -1, dtype=np.int32), np.empty(count, dtype=np.int32)
    first, counts = np.empty(min(count, max_voxels), dtype=np.int64), np.zeros(min(count, max_voxels), dtype=np.int32)
    voxels = 0
    for k in range(count):
        if coordinates[k, 0] < 0:
            continue
        key = (np.int64(coordinates[k, 0]) * grid[1] + coordinates[k, 1]) * grid[0] + coordinates[k, 2]
        place = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) & np.uint64(capacity - 1)
        while keys[place] != key and keys[place] != -1:
            place = (place + np.uint64(1)) & np.uint64(capacity - 1)
        if keys[place] == -1:
            if voxels >= max_voxels:
                continue
            keys[place], values[place] = key, voxels
            first[voxels] = k
            voxels += 1
        voxel = values[place]
        if counts[voxel] < max_points:
            voxel_of_point[k], slot[k] = voxel, counts[voxel]
            counts[voxel] += 1
    return voxel_of_point, slot, first[:voxels], counts[:voxels]


@kernel
def _scatter(points: Any, voxel_of_point: Any, slot: Any, voxels: Any) -> Any:
    for k in range(points.shape[0]):
        if voxel_of_point[k] >= 0:
            for c in range(points.shape[1]):
                voxels[voxel_of_point[k], slot[k], c] = points[k, c]


def _warm_up() -> None:
    hard_voxelize(torch.zeros(1, 4), [1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0], 1, 1)
