"""Which box holds a point, for batches of torch tensors on the CPU, as mmcv's CUDA kernels decide it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssal3d.ops.box_kernels import is_inside, membership_table
from ssal3d.ops.boxes import points_in_boxes, points_per_box
from ssal3d.ops.kernel import kernel


def points_in_boxes_part(points: Tensor, boxes: Tensor) -> Tensor:
    """Find the first box that holds each point.

    Args:
        points: ``(B, N, 3)`` points.
        boxes: ``(B, M, 7)`` boxes with the **bottom** centre, as in MMDetection3D.

    Returns:
        ``(B, N)`` int32 box indices, -1 outside all boxes. A point on a side face is outside, one on the top or bottom
        face inside.
    """
    result = torch.full(points.shape[:2], -1, dtype=torch.int32)
    for frame in range(len(points)):
        result[frame] = torch.from_numpy(
            points_in_boxes(points[frame].detach().numpy(), _gravity_centred(boxes[frame]))
        )
    return result


def points_in_boxes_all(points: Tensor, boxes: Tensor) -> Tensor:
    """Find all boxes that hold each point.

    Args:
        points: ``(B, N, 3)`` points.
        boxes: ``(B, M, 7)`` boxes with the bottom centre.

    Returns:
        ``(B, N, M)`` int32, 1 where the box holds the point.
    """
    result = torch.zeros((*points.shape[:2], boxes.shape[1]), dtype=torch.int32)
    for frame in range(len(points)):
        cloud = np.ascontiguousarray(points[frame].detach().numpy(), dtype=np.float32)
        _mark_boxes(cloud, _gravity_centred(boxes[frame]), result[frame].numpy())
    return result


def _gravity_centred(boxes: Tensor) -> NDArray[np.float64]:
    centred = boxes.detach().float().clone()
    centred[:, 2] += centred[:, 5] / 2
    return centred.double().numpy()


@kernel
def _mark_boxes(points: Any, boxes: Any, result: Any) -> Any:
    table = membership_table(boxes)
    for i in range(points.shape[0]):
        for k in range(table.shape[0]):
            if is_inside(points[i, 0], points[i, 1], points[i, 2], table[k]):
                result[i, k] = 1


def _warm_up() -> None:
    points, boxes = torch.zeros(1, 1, 3), torch.ones(1, 1, 7)
    points_in_boxes_part(points, boxes)
    points_in_boxes_all(points, boxes)
    points_per_box(points[0].numpy(), boxes[0].numpy())
