"""What replaces upstream's slow paths on a GPU gives what they give."""

import pytest
import torch
from mmcv.ops import furthest_point_sample

from ssal3d import compat
from ssal3d.compat.mmdet3d_speed_fixes import key_points_at_once
from ssal3d.ops.voxelize import hard_voxelize, hard_voxelize_by_sorting

compat.apply_all()

FINE, COARSE = [0.05, 0.05, 0.1], [2.0, 2.0, 4.0]
LIMITS = [0, -40, -3, 70.4, 40, 1]


def cloud(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 4, generator=generator) * torch.tensor([80.0, 90, 5, 1]) - torch.tensor([5.0, 45, 3.2, 0])


@pytest.mark.parametrize('count', [1, 300, 20000])
@pytest.mark.parametrize(
    ('size', 'max_points', 'max_voxels'), [(FINE, 5, 16000), (COARSE, 3, 100), (COARSE, 50, 40000)]
)
def test_sorting_gives_the_voxels_of_one_point_after_another(count, size, max_points, max_voxels):
    for points in (cloud(count), (cloud(count, 1) * 2).round() / 2):  # the second: many points on borders of voxels
        expected = hard_voxelize(points, size, LIMITS, max_points, max_voxels)
        *found, number = hard_voxelize_by_sorting(points, size, LIMITS, max_points, max_voxels)
        assert int(number) == len(expected[0])
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours[: len(theirs)], theirs)
            assert not ours[len(theirs) :].any()


@pytest.mark.parametrize('bad', [99.0, torch.nan, torch.inf, -torch.inf])
def test_points_outside_or_not_finite_are_dropped(bad):
    points = torch.tensor([[bad, 0, 0, 1], [1.0, 0, 0, 2], [bad, bad, 0, 3]])
    voxels, coordinates, counts, number = hard_voxelize_by_sorting(points, COARSE, LIMITS, 2, 4)
    assert int(number) == 1
    assert voxels[0].tolist() == [points[1].tolist(), [0, 0, 0, 0]]
    assert counts.tolist() == [1, 0, 0, 0]
    assert coordinates[0].tolist() == [0, 20, 0]
    assert int(hard_voxelize_by_sorting(points[:1], COARSE, LIMITS, 2, 4)[3]) == 0


def test_key_points_of_frames_of_different_size_are_those_of_each_alone():
    clouds = [cloud(1500, 2), cloud(1030, 3), (cloud(1200, 4) / 4).round() * 4]  # the last: many equal distances
    together = key_points_at_once(clouds, 200)
    for own, found in zip(clouds, together, strict=True):
        chosen = furthest_point_sample(own[None, :, :3].contiguous(), 200)[0].long()
        assert torch.equal(found, own[chosen, :3])


def test_a_frame_with_fewer_places_than_key_points_gives_points_of_its_own():
    same = torch.ones(1100, 4)
    found = key_points_at_once([same, cloud(1400)], 50)
    assert (found[0] == 1).all()
