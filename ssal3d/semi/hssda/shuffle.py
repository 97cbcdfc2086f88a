"""Shuffle augmentation of HSSDA: four patches of the ground change places before the 3D backbone, and back after it.

The range is cut at its centre into places 0 (low x, low y), 1 (high x, low y), 2 (low x, high y) and 3 (high x, high
y). ``permutation[q]`` is the place to which the patch of place ``q`` moves.
Source: HSSDA (Liu et al. 2023, arXiv 2304.01464), shuffle data augmentation.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmdet3d.models.middle_encoders import SparseEncoder
from mmdet3d.registry import MODELS
from torch import Tensor

from ssal3d.errors import UserError

PLACES = 4


def check_quadrants(point_cloud_range: Sequence[float], voxel_size: Sequence[float], stride: int = 8) -> None:
    """Check that voxels of every stride of the backbone change places as a whole.

    Args:
        point_cloud_range: Low x, y, z and high x, y, z in metres.
        voxel_size: Sizes in metres, x and y first.
        stride: Largest stride of the 3D backbone.

    Raises:
        UserError: If a side of the quadrants is not a multiple of voxel size times stride.

    >>> check_quadrants((0, -40, -3, 70.4, 40, 1), (0.05, 0.05, 0.1))  # 88 by 100 of 0.4 m
    """
    for axis, name in enumerate('xy'):
        side = (point_cloud_range[3 + axis] - point_cloud_range[axis]) / 2
        coarse = voxel_size[axis] * stride
        if round(side / coarse) < 1 or abs(side / coarse - round(side / coarse)) > 1e-3:
            raise UserError(
                f'shuffle: found quadrants of {side:g} m along {name}, expected a multiple of {coarse:g} m (voxel size '
                f'{voxel_size[axis]:g} m times stride {stride}); change point_cloud_range or switch the shuffle off'
            )


def draw_permutation(generator: torch.Generator | None = None) -> Tensor:
    """Draw ``(4,)`` new places, all 24 permutations (identity included) alike; torch's global generator by default."""
    return torch.randperm(PLACES, generator=generator)


def shuffle_points(
    points: Tensor, permutation: Tensor, point_cloud_range: Sequence[float], voxel_size: Sequence[float] | None = None
) -> Tensor:
    """Move the points of every quadrant to its new place.

    Points outside the range in x or y, or not finite, stay as they are: voxelisation drops them with or without
    shuffle. Given the voxel size, voxelising the result gives exactly the moved voxels: where rounding of the new
    coordinates would carry a point (real clouds are rounded to millimetres, so many lie on faces of voxels) into the
    neighbour, the point is put just inside of its own voxel, less than 0.2 mm away.

    Args:
        points: ``(N, F)`` points, x and y first.
        permutation: ``(4,)`` new place of each patch.
        point_cloud_range: Low x, y, z and high x, y, z in metres.
        voxel_size: Sizes in metres, x and y first, that divide the quadrants; the quadrants themselves if not given.

    Returns:
        ``(N, F)`` new points in the same order.

    >>> cloud = torch.tensor([[1.0, -39.0, 0.5], [36.0, 2.0, 0.5]])
    >>> shuffle_points(cloud, torch.tensor([3, 1, 2, 0]), (0, -40, -3, 70.4, 40, 1))[0].round(decimals=3).tolist()
    [36.20000076293945, 1.0, 0.5]
    """
    low, high = (points.new_tensor(point_cloud_range[first : first + 2]) for first in (0, 3))
    side = (high - low) / 2
    size = side if voxel_size is None else points.new_tensor(voxel_size[:2])
    half = (side / size).round()  # voxels along a quadrant
    ground = points[:, :2]
    cells = ((ground - low) / size).floor()  # in the arithmetic of voxelisation
    inside = ((cells >= 0) & (cells < 2 * half)).all(1, keepdim=True)
    upper = inside & (cells >= half)
    place = permutation.to(points.device)[upper[:, 0].long() + 2 * upper[:, 1].long()]
    steps = torch.stack((place % 2, place // 2), 1) - upper.long()
    moved, wanted = ground + steps * side, cells + steps * half
    margin = 8 * torch.finfo(points.dtype).eps * (high - low)  # more than the arithmetic above can be off
    corrected = torch.minimum(torch.maximum(moved, low + wanted * size + margin), low + (wanted + 1) * size - margin)
    moved = torch.where(((moved - low) / size).floor() == wanted, moved, corrected)
    return torch.cat((torch.where(inside & (steps != 0), moved, ground), points[:, 2:]), 1)


def unshuffle_indices(indices: Tensor, permutations: Sequence[Tensor | None], spatial_shape: Sequence[int]) -> Tensor:
    """Return where voxels of shuffled frames were before the shuffle.

    Args:
        indices: ``(M, 4)`` frame, z, y, x of voxels, the order of MMDetection3D and spconv, at any stride.
        permutations: One per frame; None for a frame that was not shuffled.
        spatial_shape: Voxels along z, y and x at this stride; even along y and x.

    Returns:
        ``(M, 4)`` indices in the same order. Different voxels stay different.

    Raises:
        UserError: If the centre of the range cuts through voxels of this stride.
    """
    (rows, columns), origins = spatial_shape[-2:], _places(permutations).argsort(1).to(indices.device)
    if rows % 2 or columns % 2:
        raise UserError(
            f'shuffle: found a grid of {columns} by {rows} voxels along x and y, expected even numbers; choose a '
            'point_cloud_range that is a multiple of twice the voxel size times the stride'
        )
    frame, z, y, x = indices.unbind(1)
    upper_y, upper_x = (y >= rows // 2).to(indices.dtype), (x >= columns // 2).to(indices.dtype)
    origin = origins[frame.long(), (2 * upper_y + upper_x).long()].to(indices.dtype)
    y = y + (torch.div(origin, 2, rounding_mode='floor') - upper_y) * (rows // 2)
    x = x + (origin % 2 - upper_x) * (columns // 2)
    return torch.stack((frame, z, y, x), 1)


def unshuffle_map(features: Tensor, permutations: Sequence[Tensor | None]) -> Tensor:
    """Return dense features with the patches of shuffled frames back at their places.

    Args:
        features: ``(B, C, H, W)`` features in bird's-eye view, H along y and W along x, both even.
        permutations: One per frame; None for a frame that was not shuffled.
    """
    frames, channels, height, width = features.shape
    if height % 2 or width % 2:
        raise UserError(
            f'shuffle: found a feature map of {height} by {width}, expected even numbers; change its stride'
        )
    patches = features.reshape(frames, channels, 2, height // 2, 2, width // 2)
    places = _places(permutations).to(features.device)
    frame = torch.arange(frames, device=features.device)[:, None]
    patches = patches.permute(0, 2, 4, 1, 3, 5)[frame, places // 2, places % 2]  # (B, 4, C, H / 2, W / 2)
    patches = patches.unflatten(1, (2, 2)).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(frames, channels, height, width)


def _places(permutations: Sequence[Tensor | None]) -> Tensor:
    """Return the ``(B, 4)`` new places of the patches of all frames, on the CPU."""
    return torch.stack([torch.arange(PLACES) if new is None else new.cpu() for new in permutations])


@MODELS.register_module()
class ShuffleSparseEncoder(SparseEncoder):
    """Sparse 3D backbone that puts the patches of shuffled frames back; same parameters as the stock class.

    The middle features (sparse) and the dense result are put back, so that everything after the backbone sees the frame
    as it is. To move the patches of the dense result is the same as to move the voxels behind it.

    Attributes:
        permutations: What each frame of the batch was shuffled with (None: not at all); None outside of `unshuffling`.
    """

    permutations: Sequence[Tensor | None] | None = None

    @contextmanager
    def unshuffling(self, permutations: Sequence[Tensor | None]) -> Iterator[None]:
        """Put back what was shuffled, in the forward passes within this block.

        Args:
            permutations: One per frame of the batch, see `shuffle_points`; None for a frame that was not shuffled.
        """
        self.permutations = permutations
        try:
            yield
        finally:
            self.permutations = None

    def forward(self, voxel_features: Tensor, coors: Tensor, batch_size: int) -> Any:
        """Encode voxels as the stock class does, and put shuffled patches back.

        Args:
            voxel_features: ``(M, C)`` features.
            coors: ``(M, 4)`` frame, z, y, x.
            batch_size: Frames B in the batch.

        Returns:
            ``(B, C, H, W)`` features in bird's-eye view, and with ``return_middle_feats`` the sparse tensors of all
            strides, whose cached kernel maps are dropped.
        """
        result = super().forward(voxel_features, coors, batch_size)
        permutations = self.permutations
        if permutations is None or all(new is None for new in permutations):
            return result
        if len(permutations) != batch_size:
            raise ValueError(f'found {len(permutations)} permutations, expected one for each of {batch_size} frames')
        if not self.return_middle_feats:
            return unshuffle_map(result, permutations)
        dense, middle = result
        return unshuffle_map(dense, permutations), [_unshuffled(tensor, permutations) for tensor in middle]


def _unshuffled(tensor: Any, permutations: Sequence[Tensor | None]) -> Any:
    indices = unshuffle_indices(tensor.indices, permutations, tensor.spatial_shape)
    return type(tensor)(tensor.features, indices, tensor.spatial_shape, tensor.batch_size)
