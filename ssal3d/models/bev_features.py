"""Features of boxes, read off a bird's-eye-view (BEV) feature map."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def bev_box_features(features: Tensor, boxes: Tensor, limits: Sequence[float], grid: int = 1) -> Tensor:
    """Return the mean of a feature map at a grid of points in each box, interpolated bilinearly between cells.

    Args:
        features: ``(C, H, W)`` map; W cells divide the range along x, H cells the one along y.
        boxes: ``(N, >=7)`` boxes, centre x, y, any z, size dx, dy, dz (m), yaw (rad, counter-clockwise).
        limits: Range of the map: low x, y, z and high x, y, z, m.
        grid: Points along each side of a box; 1 for the centre alone.

    Returns:
        ``(N, C)`` features. Points beyond the centres of the outermost cells take the value of the border.
    """
    low, high = boxes.new_tensor(limits[0:2]), boxes.new_tensor(limits[3:5])
    steps = (torch.arange(grid, device=boxes.device, dtype=boxes.dtype) + 0.5) / grid - 0.5
    local = torch.cartesian_prod(steps, steps).reshape(-1, 2) * boxes[:, None, 3:5]
    cos, sin = boxes[:, 6, None].cos(), boxes[:, 6, None].sin()
    turned = torch.stack((local[..., 0] * cos - local[..., 1] * sin, local[..., 0] * sin + local[..., 1] * cos), -1)
    points = (turned + boxes[:, None, :2] - low) / (high - low) * 2 - 1
    sampled = functional.grid_sample(
        features[None], points[None].to(features), align_corners=False, padding_mode='border'
    )
    return sampled[0].mean(-1).T
