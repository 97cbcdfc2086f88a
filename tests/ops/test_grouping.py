import pytest
import torch

from ssal3d.ops.grouping import add_rows, gather_points, group_points, stacked_group_points, take_rows


def counts(*numbers):
    return torch.tensor(numbers, dtype=torch.int32)


@pytest.fixture
def stacked():
    """Three frames with 4, 0 and 3 features, and indices, some of them outside their frame."""
    indices = torch.tensor([[0, 3], [1, 1], [0, 4], [0, 0], [2, 1]], dtype=torch.int32)
    return torch.randn(7, 2, dtype=torch.float64, requires_grad=True), indices, counts(4, 0, 3), counts(2, 1, 2)


def test_plain_grouping_and_gathering():
    features = torch.randn(2, 3, 5)
    indices = torch.randint(0, 5, (2, 4, 6), dtype=torch.int32)
    grouped = group_points(features, indices)
    assert grouped.shape == (2, 3, 4, 6)
    for frame, centre, k in [(0, 0, 0), (1, 3, 5), (0, 2, 4)]:
        assert (grouped[frame, :, centre, k] == features[frame, :, indices[frame, centre, k]]).all()
    gathered = gather_points(features, indices[..., 0].contiguous())
    assert torch.equal(gathered, grouped[..., 0])


def test_stacked_grouping_stays_in_the_frame(stacked):
    features, indices, feature_counts, index_counts = stacked
    grouped = stacked_group_points(features, indices, feature_counts, index_counts)
    rows = [[0, 3], [1, 1], [None, None], [4, 4], [6, 5]]
    for centre, expected in enumerate(rows):
        for k, row in enumerate(expected):
            assert torch.equal(grouped[centre, :, k], torch.zeros(2).double() if row is None else features[row])


def test_gradients(stacked):
    features, *rest = stacked
    assert torch.autograd.gradcheck(lambda values: stacked_group_points(values, *rest), features)
    plain = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    indices = torch.randint(0, 5, (2, 4, 6), dtype=torch.int32)
    assert torch.autograd.gradcheck(lambda values: group_points(values, indices), plain)
    assert torch.autograd.gradcheck(lambda values: gather_points(values, indices[..., 0]), plain)
    assert torch.autograd.gradcheck(lambda values: take_rows(values, torch.tensor([[1, -1], [1, 0]])), features)


def test_rows_add_up():
    values = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    assert add_rows(values, torch.tensor([2, -1, 2]), 4).tolist() == [[0, 0], [0, 0], [6, 8], [0, 0]]


def test_the_operators_of_mmcv_use_these_kernels(stacked):
    from mmcv.ops import gather_points as mmcv_gather
    from mmcv.ops import grouping_operation

    from ssal3d import compat

    compat.apply_all()
    features, *rest = stacked
    assert torch.equal(grouping_operation(features, *rest), stacked_group_points(features, *rest))
    assert torch.autograd.gradcheck(lambda values: grouping_operation(values, *rest), features)
    plain = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    indices = torch.randint(0, 5, (2, 4, 6), dtype=torch.int32)
    assert torch.equal(grouping_operation(plain, indices), group_points(plain, indices))
    assert torch.autograd.gradcheck(lambda values: grouping_operation(values, indices), plain)
    flat = indices[..., 0].contiguous()
    assert torch.equal(mmcv_gather(plain, flat), gather_points(plain, flat))
    assert torch.autograd.gradcheck(lambda values: mmcv_gather(values, flat), plain)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    features = torch.randn(5, 2).to(dtype).requires_grad_()
    rows = torch.tensor([[0, 4], [-1, 0]])
    taken = take_rows(features, rows)
    assert taken.dtype == dtype
    assert torch.equal(taken[0], features[[0, 4]])
    taken.sum().backward()
    assert features.grad.tolist() == [[2, 2], [0, 0], [0, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize('shape', [(0, 4), (3, 0)])
def test_nothing_to_group(shape):
    features = torch.randn(5, 2)
    grouped = stacked_group_points(features, torch.zeros(shape, dtype=torch.int32), counts(5), counts(shape[0]))
    assert grouped.shape == (shape[0], 2, shape[1])
    empty = stacked_group_points(torch.zeros(0, 2), torch.zeros(3, 4, dtype=torch.int32), counts(0), counts(3))
    assert torch.equal(empty, torch.zeros(3, 2, 4))
