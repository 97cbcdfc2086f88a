"""Affine3D against mmdet3d's own transforms, and as an algebra."""

import math

import numpy as np
import pytest
import torch
from mmdet3d.datasets.transforms import GlobalRotScaleTrans, RandomFlip3D
from mmdet3d.structures import LiDARInstance3DBoxes, LiDARPoints

from ssal3d.errors import UserError
from ssal3d.semi.affine import Affine3D

FLIPS = [(False, False), (True, False), (False, True), (True, True)]


def scene(seed=0, count=40):
    rng = np.random.default_rng(seed)
    centres = rng.uniform((0, -40, -3), (70, 40, 1), (count, 3))
    boxes = np.concatenate((centres, rng.uniform(0.5, 5, (count, 3)), rng.uniform(-4, 4, (count, 1))), 1)
    points = np.concatenate((rng.uniform((0, -40, -3), (70, 40, 1), (100, 3)), rng.uniform(0, 1, (100, 1))), 1)
    return torch.tensor(boxes, dtype=torch.float32), torch.tensor(points, dtype=torch.float32)


def transforms(count=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [Affine3D.random(generator, flip_y=0.5, rotation=(-3, 3), scale=(0.8, 1.3)) for _ in range(count)]


def test_worked_example():
    move = Affine3D(flip_x=True, flip_y=False, angle=math.pi / 2, scale=1.1)
    found = move.boxes(torch.tensor([[10, 5, -1, 4, 2, 1.5, 0.3]]))[0]
    assert found.tolist() == pytest.approx([5.5, 11, -1.1, 4.4, 2.2, 1.65, math.pi / 2 - 0.3], abs=1e-5)


@pytest.mark.parametrize('rotate_first', [False, True])
@pytest.mark.parametrize(('horizontal', 'vertical'), FLIPS)
def test_meta_of_the_real_pipeline(horizontal, vertical, rotate_first):
    np.random.seed(3)  # noqa: NPY002 - the transforms draw from it
    steps = [
        RandomFlip3D(flip_ratio_bev_horizontal=float(horizontal), flip_ratio_bev_vertical=float(vertical)),
        GlobalRotScaleTrans(rot_range=[-0.8, 0.8], scale_ratio_range=[0.9, 1.1]),
    ]
    for seed in range(5):
        boxes, points = scene(seed, count=0 if seed == 4 else 40)  # without boxes mmdet3d takes another path
        sample = {'points': LiDARPoints(points.clone(), 4), 'gt_bboxes_3d': LiDARInstance3DBoxes(boxes.clone())}
        for step in steps[::-1] if rotate_first else steps:
            sample = step(sample)
        move = Affine3D.from_meta(sample)
        torch.testing.assert_close(move.points(points), sample['points'].tensor, atol=1e-5, rtol=1e-6)
        found, expected = move.boxes(boxes), sample['gt_bboxes_3d'].tensor
        turns = (found[:, 6] - expected[:, 6]) / (2 * math.pi)
        torch.testing.assert_close(turns, turns.round(), atol=1e-6, rtol=0)
        if not rotate_first:  # the usual order gives the very yaw
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-6)
        torch.testing.assert_close(found[:, :6], expected[:, :6], atol=1e-5, rtol=1e-6)


def test_gravity_and_bottom_centred_boxes_move_alike():
    boxes, _ = scene()
    lift = torch.zeros_like(boxes)
    for move in transforms(4):
        lift[:, 2] = boxes[:, 5] / 2
        gravity = move.boxes(boxes + lift)
        lift[:, 2] = move.boxes(boxes)[:, 5] / 2
        torch.testing.assert_close(gravity, move.boxes(boxes) + lift)


@pytest.mark.parametrize(('flip_x', 'flip_y'), FLIPS)
def test_inverse_and_composition_are_exact(flip_x, flip_y):
    boxes, points = (value.double() for value in scene())
    first = Affine3D(flip_x, flip_y, 2.5, 1.2)
    torch.testing.assert_close(first.inverse().boxes(first.boxes(boxes)), boxes)
    torch.testing.assert_close(first.boxes(first.inverse().boxes(boxes)), boxes)
    torch.testing.assert_close(first.inverse().points(first.points(points)), points)
    identity = first.compose(first.inverse())
    assert (identity.flip_x, identity.flip_y) == (False, False)
    assert (identity.angle, identity.scale) == pytest.approx((0, 1))
    for second in transforms():
        both = first.compose(second)
        torch.testing.assert_close(both.boxes(boxes), second.boxes(first.boxes(boxes)))
        torch.testing.assert_close(both.points(points), second.points(first.points(points)))


def test_points_in_a_box_stay_in_it():
    corner = torch.tensor([[10 + 2 * math.cos(0.3), 5 + 2 * math.sin(0.3), -1.0]])  # middle of the front face
    box = torch.tensor([[10, 5, -1, 4, 2, 1.5, 0.3]])
    for move in transforms():
        x, y, z, length, *_, yaw = move.boxes(box)[0].tolist()
        front = [x + length / 2 * math.cos(yaw), y + length / 2 * math.sin(yaw), z]
        assert move.points(corner)[0].tolist() == pytest.approx(front, abs=1e-5)


def test_random_is_reproducible_and_within_its_ranges():
    drawn = [Affine3D.random(torch.Generator().manual_seed(5)) for _ in range(2)]
    assert drawn[0] == drawn[1]
    many = transforms(400)
    assert 0.4 < np.mean([move.flip_x for move in many]) < 0.6
    assert all(-3 <= move.angle <= 3 and 0.8 <= move.scale <= 1.3 for move in many)
    assert min(move.scale for move in many) < 0.85 < 1.25 < max(move.scale for move in many)


def test_metas():
    assert Affine3D.from_meta({}) == Affine3D()
    boxes, points = scene()
    before = boxes.clone(), points.clone()
    move = Affine3D.from_meta({'pcd_horizontal_flip': True, 'pcd_rotation_angle': 0.1, 'pcd_scale_factor': 1.05})
    assert (move.flip_x, move.flip_y, move.angle, move.scale) == pytest.approx((True, False, 0.1, 1.05))
    move.boxes(boxes), move.points(points)
    assert torch.equal(boxes, before[0])
    assert torch.equal(points, before[1])
    assert move.boxes(boxes[:0]).shape == (0, 7)
    for meta in (
        {'pcd_trans': np.array([0.0, 0.2, 0.0])},
        {'transformation_3d_flow': ['R', 'S', 'T', 'R', 'S', 'T']},
        {'transformation_3d_flow': ['jitter']},
        {'pcd_scale_factor': 0.0},
    ):
        with pytest.raises(UserError, match='expected'):
            Affine3D.from_meta(meta)
