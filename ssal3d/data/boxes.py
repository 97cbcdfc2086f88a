"""The one place where MMDetection3D's boxes become ours: gravity centre in our arrays, any type in theirs."""

from typing import Any

import numpy as np
import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from numpy.typing import NDArray


def to_gravity_array(boxes: Any) -> NDArray[np.float32]:
    """Return ``(N, 7)`` gravity-centred boxes (x, y, z, dx, dy, dz, yaw) of a LiDAR box structure, m and rad."""
    tensor = torch.cat((boxes.gravity_center, boxes.tensor[:, 3:7]), dim=1)
    return tensor.detach().cpu().numpy().astype(np.float32)


def to_lidar_boxes(boxes: NDArray[np.floating]) -> LiDARInstance3DBoxes:
    """Return MMDetection3D's bottom-centred LiDAR boxes for ``(N, 7)`` gravity-centred ones."""
    return LiDARInstance3DBoxes(
        torch.as_tensor(np.asarray(boxes, dtype=np.float32).reshape(-1, 7)), box_dim=7, origin=(0.5, 0.5, 0.5)
    )


def bottom_to_gravity(boxes: torch.Tensor) -> torch.Tensor:
    """Return ``(N, 7)`` gravity-centred boxes, given bottom-centred ones; differentiable, on their device."""
    return torch.cat((boxes[:, :2], boxes[:, 2:3] + boxes[:, 5:6] / 2, boxes[:, 3:7]), 1)


def gravity_to_bottom(boxes: torch.Tensor) -> torch.Tensor:
    """Return ``(N, 7)`` bottom-centred boxes, given gravity-centred ones; differentiable, on their device.

    >>> gravity_to_bottom(torch.tensor([[5.0, 0, -1, 4, 2, 1.5, 0]]))[0, :3].tolist()
    [5.0, 0.0, -1.75]
    """
    return torch.cat((boxes[:, :2], boxes[:, 2:3] - boxes[:, 5:6] / 2, boxes[:, 3:7]), 1)
