"""PointPillars' first layers on the CPU: points to a feature map, without computing on the padding of pillars."""

from collections.abc import Mapping
from typing import Any

import torch
from mmdet3d.models.middle_encoders import PointPillarsScatter
from mmdet3d.models.voxel_encoders import PillarFeatureNet
from torch import Tensor, nn
from torch.nn import functional


def is_plain_pillar_net(encoder: nn.Module, scatter: nn.Module) -> bool:
    """Return whether `pillar_canvas` computes what these two modules would."""
    if type(encoder) is not PillarFeatureNet or type(scatter) is not PointPillarsScatter:
        return False
    layers = list(encoder.pfn_layers)
    norm = layers[0].norm
    return (
        len(layers) == 1
        and layers[0].mode == 'max'
        and type(norm) is nn.BatchNorm1d
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and encoder._with_cluster_center
        and encoder._with_voxel_center
        and not encoder._with_distance
    )


def pillar_canvas(
    encoder: Any, scatter: Any, voxels: Mapping[str, Tensor], frames: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the feature map of a batch, channels last.

    Args:
        encoder: A `PillarFeatureNet` of one layer; its running statistics follow in training mode.
        scatter: A `PointPillarsScatter`.
        voxels: ``voxels`` (N, M, 4), ``num_points`` (N,) and ``coors`` (N, 4): frame, z, y, x.
        frames: Number of frames B.
        dtype: Type of the map.

    Returns:
        ``(B, C, H, W)``, 0 where no pillar is.
    """
    layer, coors = encoder.pfn_layers[0], voxels['coors'].long()
    rows = layer.linear(decorated_points(encoder, voxels))
    slots = voxels['voxels'].shape[0] * voxels['voxels'].shape[1]
    scale, shift = _normalisation(layer.norm, rows, slots)
    heights = torch.segment_reduce(
        functional.relu(rows * scale + shift), 'max', lengths=voxels['num_points'].long(), unsafe=True
    )
    # The padding is normalised and takes part in the maximum, too.
    padded = (voxels['num_points'] < voxels['voxels'].shape[1])[:, None]
    heights = torch.where(padded, torch.maximum(heights, functional.relu(shift)), heights)
    canvas = heights.new_zeros((frames * scatter.ny * scatter.nx, heights.shape[1]), dtype=dtype)
    cells = (coors[:, 0] * scatter.ny + coors[:, 2]) * scatter.nx + coors[:, 3]
    canvas = canvas.index_copy(0, cells, heights.to(dtype))
    return canvas.view(frames, scatter.ny, scatter.nx, -1).permute(0, 3, 1, 2)


def decorated_points(encoder: Any, voxels: Mapping[str, Tensor]) -> Tensor:
    """Return the features (P, 10) of the points in the pillars, one pillar after the other.

    They are the point, its offset from the mean of its pillar and its offset from the centre of its pillar. In the
    stock encoder's ``legacy`` mode the coordinates of the point itself give way to the latter.
    """
    filled, counts = voxels['voxels'], voxels['num_points'].long()
    pillar_of = torch.arange(len(filled), device=filled.device).repeat_interleave(counts)
    slots = torch.arange(filled.shape[1], device=filled.device) < counts[:, None]
    points = filled[slots]
    means = filled[:, :, :3].sum(1) / counts[:, None].to(filled)
    size = filled.new_tensor([encoder.vx, encoder.vy, encoder.vz])
    offset = filled.new_tensor([encoder.x_offset, encoder.y_offset, encoder.z_offset])
    centres = voxels['coors'][:, [3, 2, 1]].to(filled) * size + offset
    xyz, of_pillar = points[:, :3], torch.cat((means, centres), dim=1)[pillar_of]
    from_mean, from_centre = xyz - of_pillar[:, :3], xyz - of_pillar[:, 3:]
    return torch.cat((from_centre if encoder.legacy else xyz, points[:, 3:], from_mean, from_centre), dim=1)


def _normalisation(norm: Any, rows: Tensor, slots: int) -> tuple[Tensor, Tensor]:
    """Return scale and shift (C,) of a batch normalisation over rows and as many zero rows as there are free slots."""
    if norm.training:
        mean = rows.sum(0) / slots
        variance = ((rows - mean).square().sum(0) + (slots - len(rows)) * mean.square()) / slots
        with torch.no_grad():
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * (slots / max(slots - 1, 1)), norm.momentum)
            norm.num_batches_tracked += 1
    else:
        mean, variance = norm.running_mean, norm.running_var
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale
