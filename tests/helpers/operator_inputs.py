"""Real and hostile inputs for the tests of operators, and mmcv's own CPU kernels without our replacements."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from ssal3d.mmcv_stand_in import MissingKernel


def mmcv_kernel(name):
    """mmcv's own kernel, whether or not the fixes of ssal3d.compat are in place."""
    kernel = getattr(importlib.import_module('mmcv._ext'), name)
    kernel = getattr(kernel, '__wrapped__', kernel)
    if isinstance(kernel, MissingKernel):
        pytest.skip('mmcv has no compiled operators here; `make test OPS=compiled` compares with them')
    return kernel


def voxels_by_definition(points, size, limits, max_points, max_voxels):
    """Voxels in the order of their first points, with their first points, one point after another."""
    size, low, high = (np.float32(values) for values in (size, limits[:3], limits[3:]))
    shape, voxels = np.round((high - low) / size), {}
    for point in points:
        cell = np.floor((point[:3].float().numpy() - low) / size)
        if (cell >= 0).all() and (cell < shape).all():
            cell = tuple(cell[::-1].astype(int).tolist())
            if cell in voxels or len(voxels) < max_voxels:
                voxels.setdefault(cell, []).append(point)
    filled = points.new_zeros(len(voxels), max_points, points.shape[1])
    for row, inside in zip(filled, voxels.values()):
        row[: len(inside)] = torch.stack(inside)[:max_points]
    counts = [min(len(inside), max_points) for inside in voxels.values()]
    return filled, torch.tensor([*voxels], dtype=torch.int).view(-1, 3), torch.tensor(counts, dtype=torch.int)


def scan(kitti_mini: Path, frame: int, limits=(0, -40, -3, 70.4, 40, 1)) -> torch.Tensor:
    """The points of a real frame that lie in range and, roughly, in the camera's view."""
    points = np.fromfile(kitti_mini / 'training' / 'velodyne' / f'{frame:06d}.bin', np.float32).reshape(-1, 4)
    inside = (points[:, :3] > limits[:3]).all(1) & (points[:, :3] < limits[3:]).all(1)
    return torch.from_numpy(points[inside & (np.abs(points[:, 1]) < points[:, 0])])


def clouds():
    """Small point clouds by name: random, on a grid (equal distances), identical, a single point, far away."""
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(700, 3, generator=generator) * 5
    return {
        'random': random,
        'grid': (random / 3).round() * 3,
        'identical': torch.ones(40, 3),
        'single': torch.tensor([[1.0, 2.0, 3.0]]),
        'outlier': torch.cat((random[:100], torch.tensor([[1e7, -1e7, 0.0]]))),
    }


def renumbered(outputs, pairs, counts, numbering=None):
    """The rulebook of a strided convolution with its output rows in another order.

    Args:
        outputs: Coordinates of the rows.
        pairs: Rulebook.
        counts: Pairs by place in the kernel.
        numbering: Generator of the order; by default torch's own.
    """
    order = torch.randperm(len(outputs), generator=numbering)
    place = order.argsort().to(pairs.dtype)
    targets = torch.where(pairs[1] >= 0, place[pairs[1].clamp(min=0).long()], pairs[1])
    return outputs[order].contiguous(), torch.stack((pairs[0], targets)), counts
