import pytest
import torch

from ssal3d.ops.voxelize import dynamic_voxelize, hard_voxelize, hard_voxelize_by_sorting
from tests.helpers.operator_inputs import mmcv_kernel, scan, voxels_by_definition

GRID = [0.05, 0.05, 0.1], [0.0, -40.0, -3.0, 70.4, 40.0, 1.0]
PILLARS = [0.16, 0.16, 4.0], [0.0, -39.68, -3.0, 69.12, 39.68, 1.0]
FINE, COARSE, WIDE = [0.05, 0.05, 0.1], [2.0, 2.0, 4.0], [0.0, -40.0, -3.0, 70.4, 40.0, 1.0]
SMALL = [0.5, 0.4, 1.0], [-2.0, -2.0, -1.0, 2.0, 2.0, 1.0]


def mmcv_hard(points, size, limits, max_points, max_voxels):
    voxels = points.new_zeros(max_voxels, max_points, points.shape[1])
    coordinates, counts = torch.zeros(max_voxels, 3, dtype=torch.int), torch.zeros(max_voxels, dtype=torch.int)
    number = torch.zeros((), dtype=torch.long)
    sizes = {'max_points': max_points, 'max_voxels': max_voxels, 'NDim': 3, 'deterministic': True}
    mmcv_kernel('hard_voxelize_forward')(
        points, torch.tensor(size), torch.tensor(limits), voxels, coordinates, counts, number, **sizes
    )
    return voxels[:number], coordinates[:number], counts[:number]


def mmcv_dynamic(points, size, limits):
    result = torch.zeros(len(points), 3, dtype=torch.int)
    mmcv_kernel('dynamic_voxelize_forward')(points, torch.tensor(size), torch.tensor(limits), result, NDim=3)
    return result


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize('max_points', [1, 3, 100])
@pytest.mark.parametrize('max_voxels', [1, 7, 1000])
def test_same_voxels_one_point_after_another(max_points, max_voxels):
    points = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    arguments = points, *SMALL, max_points, max_voxels
    assert_same(hard_voxelize(*arguments), voxels_by_definition(*arguments))


@pytest.mark.parametrize(
    ('grid', 'max_points', 'max_voxels'), [(GRID, 5, 16000), (GRID, 5, 40000), (PILLARS, 32, 1000)]
)
def test_same_voxels_of_a_real_scan_one_point_after_another(kitti_mini, grid, max_points, max_voxels):
    points = scan(kitti_mini, 0, limits=(-10, -50, -5, 80, 50, 5))
    arguments = points, *grid, max_points, max_voxels
    found = hard_voxelize(*arguments)
    assert len(found[0]) > 900
    assert_same(found, voxels_by_definition(*arguments))


@pytest.mark.parametrize('max_points', [1, 3, 100])
@pytest.mark.parametrize('max_voxels', [1, 7, 1000])
def test_same_voxels_as_mmcv(max_points, max_voxels):
    points = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    arguments = points, *SMALL, max_points, max_voxels
    assert_same(hard_voxelize(*arguments), mmcv_hard(*arguments))
    assert torch.equal(dynamic_voxelize(points, *SMALL), mmcv_dynamic(points, *SMALL))


@pytest.mark.parametrize(
    ('grid', 'max_points', 'max_voxels'), [(GRID, 5, 16000), (GRID, 5, 40000), (PILLARS, 32, 1000)]
)
def test_same_voxels_on_a_real_scan(kitti_mini, grid, max_points, max_voxels):
    points = scan(kitti_mini, 0, limits=(-10, -50, -5, 80, 50, 5))
    arguments = points, *grid, max_points, max_voxels
    found = hard_voxelize(*arguments)
    assert len(found[0]) > 900
    assert_same(found, mmcv_hard(*arguments))


def test_by_definition():
    points = torch.tensor(
        [[0.1, 0, 0, 7], [0.2, 0.1, 0, 8], [9, 9, 9, 9], [-2, -2, -1, 1], [0.3, 0.2, 0, 5], [2, 0, 0, 6]]
    )
    voxels, coordinates, counts = hard_voxelize(points, *SMALL, 2, 10)
    assert coordinates.tolist() == [[1, 5, 4], [0, 0, 0]]
    assert counts.tolist() == [2, 1]
    assert torch.equal(voxels, torch.stack((points[:2], torch.stack((points[3], torch.zeros(4))))))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16])
def test_other_types(dtype):
    points = torch.randn(300, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    arguments = points, *SMALL, 3, 100
    assert_same(hard_voxelize(*arguments), voxels_by_definition(*arguments))


def test_nothing_and_bad_points():
    for points in (
        torch.zeros(0, 4),
        torch.full((3, 4), 99.0),
        torch.full((2, 4), torch.nan),
        torch.full((2, 4), -torch.inf),
    ):
        voxels, coordinates, counts = hard_voxelize(points, *SMALL, 2, 10)
        assert voxels.shape == (0, 2, 4)
        assert coordinates.shape == (0, 3)
        assert counts.shape == (0,)
        assert (dynamic_voxelize(points, *SMALL) == -1).all()
    points = torch.tensor([[torch.nan, 0, 0, 1], [0.1, 0, 0, 2]])
    assert hard_voxelize(points, *SMALL, 2, 10)[0].tolist() == [[points[1].tolist(), [0, 0, 0, 0]]]


def street(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 4, generator=generator) * torch.tensor([80.0, 90, 5, 1]) - torch.tensor([5.0, 45, 3.2, 0])


@pytest.mark.parametrize('count', [1, 300, 20000])
@pytest.mark.parametrize(
    ('size', 'max_points', 'max_voxels'), [(FINE, 5, 16000), (COARSE, 3, 100), (COARSE, 50, 40000)]
)
def test_sorting_gives_the_voxels_of_one_point_after_another(count, size, max_points, max_voxels):
    for points in (street(count), (street(count, 1) * 2).round() / 2):  # the second: many points on borders of voxels
        expected = hard_voxelize(points, size, WIDE, max_points, max_voxels)
        *found, number = hard_voxelize_by_sorting(points, size, WIDE, max_points, max_voxels)
        assert int(number) == len(expected[0])
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours[: len(theirs)], theirs)
            assert not ours[len(theirs) :].any()


@pytest.mark.parametrize('bad', [99.0, torch.nan, torch.inf, -torch.inf])
def test_points_outside_or_not_finite_are_dropped(bad):
    points = torch.tensor([[bad, 0, 0, 1], [1.0, 0, 0, 2], [bad, bad, 0, 3]])
    voxels, coordinates, counts, number = hard_voxelize_by_sorting(points, COARSE, WIDE, 2, 4)
    assert int(number) == 1
    assert voxels[0].tolist() == [points[1].tolist(), [0, 0, 0, 0]]
    assert counts.tolist() == [1, 0, 0, 0]
    assert coordinates[0].tolist() == [0, 20, 0]
    assert int(hard_voxelize_by_sorting(points[:1], COARSE, WIDE, 2, 4)[3]) == 0


def test_the_layers_of_mmdet3d_use_these_kernels():
    from mmcv.ops.voxelize import voxelization as mmcv_voxelization
    from mmdet3d.models.data_preprocessors.voxelize import voxelization

    from ssal3d import compat

    compat.apply_all()
    points = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    for operator in (voxelization, mmcv_voxelization):
        assert_same(operator(points, *SMALL, 3, 20), voxels_by_definition(points, *SMALL, 3, 20))
        assert torch.equal(operator(points, *SMALL, -1, -1), dynamic_voxelize(points, *SMALL))
