import pytest
import torch

from ssal3d.ops.scatter import points_to_voxels, points_to_voxels_backward


def some_points(count=200):
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(-1, 3, (count, 3), generator=generator, dtype=torch.int32)
    return torch.randn(count, 4, generator=generator, dtype=torch.float64).round(decimals=1), cells


@pytest.mark.parametrize('reduction', ['max', 'mean', 'sum'])
def test_every_voxel_is_reduced_over_its_own_points(reduction):
    features, cells = some_points()
    reduced, voxels, of_point, counts = points_to_voxels(features, cells, reduction)
    members = {}
    for number, cell in enumerate(cells.tolist()):
        if min(cell) >= 0:
            members.setdefault(tuple(cell), []).append(number)
    assert voxels.tolist() == [list(cell) for cell in sorted(members)]
    for row, cell in enumerate(sorted(members)):
        values = features[members[cell]]
        expected = values.max(0)[0] if reduction == 'max' else getattr(values, reduction)(0)
        torch.testing.assert_close(reduced[row], expected)
        assert (of_point[members[cell]] == row).all()
        assert counts[row] == len(members[cell])
    assert (of_point == -1).sum() == len(cells) - sum(map(len, members.values()))


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_gradients_are_those_of_autograd(reduction):
    features, cells = some_points()
    features.requires_grad_()
    reduced, _, of_point, counts = points_to_voxels(features, cells, reduction)
    gradients = torch.randn_like(reduced)
    (expected,) = torch.autograd.grad(reduced, features, gradients)
    torch.testing.assert_close(
        points_to_voxels_backward(gradients, features, reduced, of_point, counts, reduction), expected
    )


def test_the_gradient_of_a_maximum_goes_to_the_first_point_that_attains_it():
    features = torch.tensor([[1.0, 5], [3, 5], [3, 2], [9, 9]])
    cells = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 0], [-1, 0, 0]], dtype=torch.int32)
    reduced, _, of_point, counts = points_to_voxels(features, cells, 'max')
    gradients = torch.tensor([[10.0, 20]])
    found = points_to_voxels_backward(gradients, features, reduced, of_point, counts, 'max')
    assert found.tolist() == [[0, 20], [10, 0], [0, 0], [0, 0]]


def test_the_layer_of_mmcv_uses_it():
    from mmcv.ops import DynamicScatter

    from ssal3d import compat

    compat.apply_all()
    features, cells = some_points()
    features = features.float().requires_grad_()
    batch = torch.cat((torch.arange(len(cells), dtype=torch.int32)[:, None] % 2, cells), 1)
    layer = DynamicScatter([1, 1, 1], [0, 0, 0, 3, 3, 3], average_points=True)
    means, voxels = layer(features, batch)
    for frame in (0, 1):
        expected, coordinates, _, _ = points_to_voxels(features[frame::2], cells[frame::2], 'mean')
        torch.testing.assert_close(means[voxels[:, 0] == frame], expected)
        assert torch.equal(voxels[voxels[:, 0] == frame][:, 1:], coordinates)
    means.sum().backward()
    assert torch.isfinite(features.grad).all()


def test_nothing():
    reduced, voxels, of_point, counts = points_to_voxels(torch.zeros(0, 4), torch.zeros(0, 3, dtype=torch.int32), 'max')
    assert (reduced.shape, voxels.shape, of_point.shape, counts.shape) == ((0, 4), (0, 3), (0,), (0,))
