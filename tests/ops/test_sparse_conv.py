import pytest
import torch

from ssal3d.ops.sparse_conv import convolution_pairs, convolve, convolve_backward, submanifold_pairs


def voxels(count, shape=(6, 7, 8), frames=3, seed=0):
    """Distinct voxels of several frames, frame by frame but otherwise in random order."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(frames * shape[0] * shape[1] * shape[2], generator=generator)[:count]
    parts = torch.unravel_index(cells, (frames, *shape))
    return torch.stack(parts, 1)[parts[0].argsort(stable=True)].int()


def dense_sum(indices, features, weights, shape, stride, padding, dilation, frames=3):
    """The convolution of the dense grid, and where at least one voxel contributes."""
    grid = torch.zeros(frames, 1, *shape, dtype=torch.float64)
    grid[indices[:, 0].long(), 0, indices[:, 1].long(), indices[:, 2].long(), indices[:, 3].long()] = features
    settings = {'stride': stride, 'padding': padding, 'dilation': dilation}
    reached = torch.nn.functional.conv3d((grid != 0).double(), torch.ones_like(weights)[None, None], **settings)
    return torch.nn.functional.conv3d(grid, weights[None, None], **settings)[:, 0], reached[:, 0] > 0


def sparse_sum(pairs, numbers, features, weights, num_outputs):
    result = torch.zeros(num_outputs, dtype=torch.float64)
    for position, number in enumerate(numbers):
        inputs, outputs = pairs[:, position, :number].long()
        result.index_add_(0, outputs, features[inputs] * weights.flatten()[position])
        assert (pairs[:, position, number:] == -1).all()
    return result


@pytest.mark.parametrize(
    ('kernel', 'stride', 'padding', 'dilation'),
    [
        ((3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1)),
        ((3, 3, 3), (2, 2, 2), (0, 1, 1), (1, 1, 1)),
        ((3, 1, 1), (2, 1, 1), (0, 0, 0), (1, 1, 1)),
        ((2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1)),
        ((3, 2, 3), (1, 3, 2), (2, 0, 1), (2, 1, 2)),
    ],
)
def test_a_strided_convolution_is_that_of_the_dense_grid(kernel, stride, padding, dilation):
    shape, indices = (6, 7, 8), voxels(90)
    features, weights = torch.rand(90).double() + 0.5, torch.rand(kernel).double()
    dense, reached = dense_sum(indices, features, weights, shape, stride, padding, dilation)
    outputs, pairs, numbers = convolution_pairs(indices, dense.shape[1:], kernel, stride, padding, dilation)
    assert outputs.tolist() == reached.nonzero().tolist()  # these exist, sorted by frame, z, y, x
    found = sparse_sum(pairs, numbers.tolist(), features, weights, len(outputs))
    torch.testing.assert_close(found, dense[reached])


@pytest.mark.parametrize('dilation', [(1, 1, 1), (2, 1, 3)])
@pytest.mark.parametrize('kernel', [(3, 3, 3), (1, 3, 5), (1, 1, 1)])
def test_a_submanifold_convolution_is_that_of_the_dense_grid(kernel, dilation):
    shape, indices = (6, 7, 8), voxels(120)
    features, weights = torch.rand(120).double() + 0.5, torch.rand(kernel).double()
    padding = [size // 2 * spread for size, spread in zip(kernel, dilation, strict=True)]
    dense, _ = dense_sum(indices, features, weights, shape, (1, 1, 1), padding, dilation)
    pairs, counts = submanifold_pairs(indices, shape, kernel, dilation)
    half = counts.tolist()[: len(counts) // 2]
    assert counts.tolist() == half + [0] * (len(counts) - len(half))
    found = sparse_sum(pairs, [*half, len(indices), *half[::-1]], features, weights, len(indices))
    torch.testing.assert_close(found, dense[tuple(indices.long().T)])


def test_nothing_and_a_single_voxel():
    none = torch.zeros(0, 4, dtype=torch.int32)
    outputs, pairs, counts = convolution_pairs(none, (3, 3, 3), (3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1))
    assert outputs.shape == (0, 4)
    assert pairs.shape == (2, 27, 0)
    assert counts.sum() == 0
    assert submanifold_pairs(none, (3, 3, 3), (3, 3, 3), (1, 1, 1))[0].shape == (2, 27, 0)
    corner = torch.tensor([[0, 2, 2, 2]], dtype=torch.int32)
    outputs, _, counts = convolution_pairs(corner, (1, 1, 1), (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1))
    assert len(outputs) == 0  # the last voxel of an odd grid is left out without padding


@pytest.mark.parametrize('submanifold', [True, False])
def test_gradients(submanifold):
    indices, kernel, ones = voxels(40, shape=(3, 4, 4)), (3, 3, 3), (1, 1, 1)
    if submanifold:
        pairs, counts = submanifold_pairs(indices, (3, 4, 4), kernel, ones)
        num_outputs = len(indices)
    else:
        outputs, pairs, counts = convolution_pairs(indices, (2, 2, 2), kernel, (2, 2, 2), ones, ones)
        num_outputs = len(outputs)

    class Convolution(torch.autograd.Function):
        @staticmethod
        def forward(ctx, features, filters):
            ctx.save_for_backward(features, filters)
            return convolve(features.detach(), filters.detach(), pairs, counts, num_outputs, submanifold)

        @staticmethod
        def backward(ctx, gradients):
            return convolve_backward(*ctx.saved_tensors, gradients, pairs, counts, submanifold)

    features = torch.rand(len(indices), 3, dtype=torch.float64, requires_grad=True)
    filters = torch.rand(2, *kernel, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Convolution.apply, (features, filters))


@pytest.fixture
def one_thread():
    """spconv's own kernels race with several threads (fix spconv-races)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize('frames', [1, 3])
@pytest.mark.usefixtures('one_thread')
def test_the_layers_of_spconv_give_the_same_with_these_kernels(frames, monkeypatch):
    """Forward and backward through stock layers, against spconv's own kernels: only the order of outputs may differ."""
    from spconv import pytorch as spconv

    from ssal3d import compat

    compat.apply_all()
    torch.manual_seed(0)
    indices = voxels(150, frames=frames)
    network = spconv.SparseSequential(
        spconv.SubMConv3d(4, 6, 3, indice_key='a'),
        spconv.SubMConv3d(6, 6, 3, indice_key='a'),
        spconv.SparseConv3d(6, 5, 3, stride=2, padding=1, indice_key='b'),
        spconv.SubMConv3d(5, 3, 3),
        spconv.SparseInverseConv3d(3, 2, 3, indice_key='b'),
    )

    def run():
        features = torch.rand(150, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
        network.zero_grad()
        output = network(spconv.SparseConvTensor(features, indices, [6, 7, 8], frames))
        dense = output.dense()
        (dense * torch.arange(dense.numel()).view_as(dense).remainder(7)).sum().backward()
        return dense.detach(), features.grad, *(parameter.grad.clone() for parameter in network.parameters())

    ours = run()
    for name in ('get_indice_pairs', 'indice_conv', 'indice_conv_backward'):
        monkeypatch.setattr(spconv.ops, name, getattr(spconv.ops, name).__wrapped__)
    for mine, theirs in zip(ours, run(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_the_result_does_not_depend_on_threads():
    indices = voxels(150)
    pairs, counts = submanifold_pairs(indices, (6, 7, 8), (3, 3, 3), (1, 1, 1))
    features, filters, gradients = torch.rand(150, 4), torch.rand(6, 3, 3, 3, 4), torch.rand(150, 6)
    first = convolve(features, filters, pairs, counts, 150, True)
    first_gradients = convolve_backward(features, filters, gradients, pairs, counts, True)
    for _ in range(50):
        assert torch.equal(convolve(features, filters, pairs, counts, 150, True), first)
        again = convolve_backward(features, filters, gradients, pairs, counts, True)
        assert all(map(torch.equal, again, first_gradients))
