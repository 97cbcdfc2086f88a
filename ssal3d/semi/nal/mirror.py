"""Agreement of the output maps of a scene and of its mirror image (our 3D form of NAL, arXiv 2106.11921)."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ssal3d.errors import UserError

_Y, _X, _YAW = 1, 0, 6  # residuals that a mirror touches


def check_mirror_symmetry(
    rotations: Sequence[float], ranges: Sequence[Sequence[float]], axis: Literal['y', 'x'] = 'y'
) -> None:
    """Check that every anchor has its own mirror image on the grid, up to half a turn.

    Args:
        rotations: Yaws of the anchors, radians.
        ranges: ``(x0, y0, z0, x1, y1, z1)`` of the anchors' centres, m.
        axis: Coordinate that changes its sign.

    Raises:
        UserError: If a rotation is not a multiple of a quarter turn (to 0.01 rad), or a range is not symmetric.
    """
    for rotation in rotations:
        if abs(math.sin(2 * rotation)) > 0.02:
            raise UserError(f'mirror consistency: found an anchor rotation of {rotation}, expected 0 or 1.57')
    column = _X if axis == 'x' else _Y
    for limits in ranges:
        if abs(limits[column] + limits[column + 3]) > 1e-3:
            raise UserError(
                f'mirror consistency: found anchors from {axis} = {limits[column]} to {limits[column + 3]}, expected a '
                f'range symmetric about {axis} = 0; mirror the other axis or change the range'
            )


def mirror_rpn_maps(cls: Tensor, reg: Tensor, axis: Literal['y', 'x'] = 'y') -> tuple[Tensor, Tensor]:
    """Return the maps that an ideal anchor head gives for the mirrored scene, from those of the scene.

    The channels are those of mmdet3d's `Anchor3DHead` and `PartA2RPNHead`: anchor by anchor (sizes, in each the
    rotations), in each anchor the C logits or the residuals (x, y, z, dx, dy, dz, yaw) of `DeltaXYZWLHRBBoxCoder`. An
    anchor of yaw 0 or 1.57 is its own mirror image up to half a turn (and 0.0016 rad), so channels keep their places;
    the offset along the axis and the yaw change their signs. Mirroring twice changes nothing.

    Args:
        cls: ``(B, A * C, H, W)`` logits; H runs along y, W along x.
        reg: ``(B, A * 7, H, W)`` residuals.
        axis: Coordinate that changes its sign.
    """
    side = 3 if axis == 'x' else 2
    offset = _X if axis == 'x' else _Y
    signs = [-1.0 if code in (offset, _YAW) else 1.0 for code in range(7)]
    channels = torch.tensor(signs, dtype=reg.dtype, device=reg.device).repeat(reg.shape[1] // 7)
    return cls.flip(side), reg.flip(side) * channels[:, None, None]


def mirror_consistency(cls_a: Tensor, reg_a: Tensor, cls_b: Tensor, reg_b: Tensor, threshold: float = 0.3) -> Tensor:
    """Return how much two views disagree where either of them sees an object.

    The symmetric Kullback-Leibler divergence of the classes' probabilities over two (summed over the classes; in each
    of its halves the side that is compared with is a constant), plus the mean squared difference of the residuals.
    Directions are left out, a mirror swaps them. Swapping the views changes nothing.

    Args:
        cls_a: ``(B, A * C, H, W)`` logits of one view.
        reg_a: ``(B, A * 7, H, W)`` its residuals.
        cls_b: Logits of the other view, brought into the first one's frame by `mirror_rpn_maps`.
        reg_b: Its residuals, likewise.
        threshold: An anchor counts if its largest class probability is above it in either view.

    Returns:
        Scalar, mean over the anchors that count; 0 with a graph to both views if none does.
    """
    anchors = reg_a.shape[1] // 7
    cls_a, cls_b = (_by_anchor(maps, anchors) for maps in (cls_a, cls_b))
    reg_a, reg_b = (_by_anchor(maps, anchors) for maps in (reg_a, reg_b))
    seen = torch.maximum(cls_a.detach(), cls_b.detach()).amax(1).sigmoid() > threshold
    cls_a, reg_a, cls_b, reg_b = cls_a[seen], reg_a[seen], cls_b[seen], reg_b[seen]
    count = max(len(cls_a), 1)
    divergence = (_bernoulli_kl(cls_a.detach(), cls_b) + _bernoulli_kl(cls_b.detach(), cls_a)).sum() / 2
    return divergence / count + (reg_a - reg_b).square().sum() / (7 * count)


def _by_anchor(maps: Tensor, anchors: int) -> Tensor:
    """Return ``(B, A * K, H, W)`` maps as ``(B * H * W * A, K)`` rows, the order of the head's own targets."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1] // anchors)


def _bernoulli_kl(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """Return ``KL(p || q)`` from logits, which stays finite where a probability rounds to 0 or 1."""
    p = logits_p.sigmoid()
    of_one = logsigmoid(logits_p) - logsigmoid(logits_q)
    of_zero = logsigmoid(-logits_p) - logsigmoid(-logits_q)
    return p * of_one + (1 - p) * of_zero
