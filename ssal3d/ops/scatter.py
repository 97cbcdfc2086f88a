"""Reducing points to voxels (dynamic voxelisation) on the CPU; mmcv has a CUDA kernel only."""

import torch
from torch import Tensor

REDUCTIONS = {'max': 'amax', 'mean': 'mean', 'sum': 'sum'}


def points_to_voxels(features: Tensor, cells: Tensor, reduction: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reduce the features of the points that lie in one voxel.

    Args:
        features: ``(N, C)`` features of points.
        cells: ``(N, D)`` integer voxel coordinates; a point with a negative one lies in no voxel.
        reduction: ``'max'``, ``'mean'`` or ``'sum'``.

    Returns:
        ``(V, C)`` features and ``(V, D)`` coordinates of the voxels in ascending order of coordinates, ``(N,)`` int32
        voxel of each point (-1: none), ``(V,)`` int32 points of each voxel. O(N log N).
    """
    inside = (cells >= 0).all(1)
    voxels, owner, counts = torch.unique(cells[inside], dim=0, return_inverse=True, return_counts=True)
    reduced = features.new_zeros(len(voxels), features.shape[1])
    index = owner[:, None].expand(-1, features.shape[1])
    reduced.scatter_reduce_(0, index, features[inside], REDUCTIONS[reduction], include_self=False)
    of_point = torch.full((len(cells),), -1, dtype=torch.int32)
    of_point[inside] = owner.int()
    return reduced, voxels, of_point, counts.int()


def points_to_voxels_backward(
    gradients: Tensor, features: Tensor, reduced: Tensor, of_point: Tensor, counts: Tensor, reduction: str
) -> Tensor:
    """Return the gradients of the points' features.

    Args:
        gradients: ``(V, C)`` gradients of the voxels' features.
        features: ``(N, C)`` features of points.
        reduced: ``(V, C)`` features of voxels.
        of_point: ``(N,)`` voxel of each point, -1 for none.
        counts: ``(V,)`` points of each voxel.
        reduction: As in `points_to_voxels`; the gradient of a maximum goes to the first point that attains it.
    """
    result = torch.zeros_like(features)
    points = torch.nonzero(of_point >= 0)[:, 0]
    owner = of_point[points].long()
    if reduction == 'max':
        rank = torch.arange(len(points))[:, None].expand(-1, features.shape[1])
        rank = torch.where(features[points] == reduced[owner], rank, len(points))
        first = torch.full(reduced.shape, len(points)).scatter_reduce_(
            0, owner[:, None].expand_as(rank), rank, 'amin', include_self=True
        )
        result[points] = torch.where(rank == first[owner], gradients[owner], 0)
        result[points] *= rank < len(points)
    else:
        scale = counts[owner, None].to(features.dtype) if reduction == 'mean' else 1
        result[points] = gradients[owner] / scale
    return result
