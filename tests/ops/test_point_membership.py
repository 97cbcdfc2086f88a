import numpy as np
import torch

from ssal3d.ops.point_membership import points_in_boxes_all, points_in_boxes_part
from tests.helpers.operator_inputs import mmcv_kernel, scan


def some_boxes(around, count=12, seed=0):
    generator = np.random.default_rng(seed)
    centres = around[generator.integers(0, len(around), count)].numpy()
    sizes, yaws = generator.uniform(0.5, 5, (count, 3)), generator.uniform(-4, 4, (count, 1))
    return torch.from_numpy(np.concatenate((centres, sizes, yaws), 1)).float()


def inside(point, box):
    """The CUDA kernel's test of one point: float32, but halves are taken in double precision."""
    x, y, z, length, width, height, yaw = box
    centre = np.float32(float(z) + float(height) / 2)
    if abs(point[2] - centre) > float(height) / 2:
        return False
    dx, dy, cos, sin = point[0] - x, point[1] - y, np.cos(-yaw), np.sin(-yaw)
    return bool(abs(dx * cos - dy * sin) < length / 2 and abs(dx * sin + dy * cos) < width / 2)


def test_against_the_text_of_the_kernel():
    points = torch.randn(2, 400, 3, generator=torch.Generator().manual_seed(0)) * 3
    boxes = torch.stack([some_boxes(frame, 9, seed) for seed, frame in enumerate(points)])
    table = np.array(
        [
            [[inside(p, b) for b in frame_boxes] for p in frame]
            for frame, frame_boxes in zip(points.numpy(), boxes.numpy(), strict=True)
        ]
    )
    found = points_in_boxes_all(points, boxes)
    assert found.dtype == torch.int32
    assert (found.numpy() == table).all()
    first = points_in_boxes_part(points, boxes)
    assert first.dtype == torch.int32
    assert (first.numpy() == np.where(table.any(2), table.argmax(2), -1)).all()


def test_against_the_cpu_kernel_of_mmcv_on_a_real_scan(kitti_mini):
    points = scan(kitti_mini, 2)[:, :3].contiguous()
    boxes = some_boxes(points, 40)
    expected = torch.zeros(len(boxes), len(points), dtype=torch.int32)
    mmcv_kernel('points_in_boxes_cpu_forward')(boxes, points, expected)
    found = points_in_boxes_all(points[None], boxes[None])[0].T
    assert found.sum() > 1000
    assert (found != expected).sum() <= 2  # points within rounding of a side


def test_borders():
    box = torch.tensor([[[0.0, 0, 0, 2, 2, 2, 0]]])  # z from 0 to 2
    points = torch.tensor([[[1.0, 0, 1], [0, 0.999, 1], [0, 0, 0], [0, 0, 2], [0, 0, 2.001], [0, 0, -0.001]]])
    assert points_in_boxes_part(points, box)[0].tolist() == [-1, 0, 0, 0, -1, -1]


def test_nothing():
    points, boxes = torch.randn(1, 5, 3), torch.randn(1, 4, 7)
    assert points_in_boxes_part(points[:, :0], boxes).shape == (1, 0)
    assert points_in_boxes_part(points, boxes[:, :0]).tolist() == [[-1] * 5]
    assert points_in_boxes_all(points, boxes[:, :0]).shape == (1, 5, 0)
    assert points_in_boxes_part(torch.full((1, 2, 3), torch.nan), torch.ones(1, 4, 7)).tolist() == [[-1, -1]]


def test_boxes_of_mmdet3d_use_these_kernels():
    from mmdet3d.structures import LiDARInstance3DBoxes

    from ssal3d import compat

    compat.apply_all()
    points = torch.randn(300, 3, generator=torch.Generator().manual_seed(1)) * 3
    boxes = some_boxes(points)
    structure = LiDARInstance3DBoxes(boxes)
    assert torch.equal(structure.points_in_boxes_part(points), points_in_boxes_part(points[None], boxes[None])[0])
    assert torch.equal(structure.points_in_boxes_all(points), points_in_boxes_all(points[None], boxes[None])[0])
