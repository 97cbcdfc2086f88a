import copy

import pytest
import torch
from mmdet3d.models.layers.pointnet_modules.stack_point_sa_module import StackedSAModuleMSG

from ssal3d import compat
from ssal3d.models.fast_layers import FastSetAbstraction
from ssal3d.ops.set_abstraction import set_abstraction

compat.apply_all()


def counts(*numbers):
    return torch.tensor(numbers, dtype=torch.int32)


def module(channels=5, layers=(8, 6), radius=2.0, samples=16):
    torch.manual_seed(0)
    result = FastSetAbstraction(channels, radius=[radius], sample_nums=[samples], mlp_channels=[list(layers)]).double()
    for norm in result.mlps[0].modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(norm.weight)  # negative scales, too
            torch.nn.init.normal_(norm.bias)
            torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    return result


def inputs(channels=5, points=(60, 0, 80), centres=(30, 10, 20), spread=8.0):
    generator = torch.Generator().manual_seed(1)
    clouds = [
        torch.rand(sum(numbers), 3, generator=generator, dtype=torch.float64) * spread for numbers in (points, centres)
    ]
    features = torch.randn(sum(points), channels, generator=generator, dtype=torch.float64)
    return clouds[0], counts(*points), clouds[1], counts(*centres), features.requires_grad_()


def run(layer, arguments, forward):
    """Result, gradients and statistics after one pass."""
    *rest, features = arguments
    features = features.detach().clone().requires_grad_()
    output = forward(layer, *rest, features)[1]
    weights = torch.arange(output.numel(), dtype=output.dtype).view_as(output).remainder(11) - 5
    (output * weights).sum().backward()
    return [output, features.grad, *(parameter.grad for parameter in layer.parameters()), *layer.buffers()]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('layers', [(8,), (8, 6), (4, 5, 6)])
@pytest.mark.parametrize(('radius', 'samples'), [(0.3, 4), (2.0, 16), (6.0, 3), (50.0, 1)])
def test_same_result_gradients_and_statistics_as_the_stock_module(training, layers, radius, samples):
    ours = module(layers=layers, radius=radius, samples=samples).train(training)
    theirs, arguments = copy.deepcopy(ours), inputs()
    fast, stock = FastSetAbstraction.forward, StackedSAModuleMSG.forward
    for mine, reference in zip(run(ours, arguments, fast), run(theirs, arguments, stock), strict=True):
        torch.testing.assert_close(mine, reference, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize('momentum', [0.3, None])
def test_statistics_of_several_passes(momentum):
    ours = module()
    for norm in ours.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = momentum
    theirs, arguments = copy.deepcopy(ours), inputs()
    for _ in range(3):
        ours(*arguments)
        StackedSAModuleMSG.forward(theirs, *arguments)
    for mine, reference in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, reference)


def test_gradients_by_finite_differences():
    layer = module(channels=2, layers=(3,), samples=4).train()
    *rest, features = inputs(channels=2, points=(9,), centres=(5,), spread=3.0)
    weights, norm = layer.mlps[0][0].conv.weight.detach().flatten(1).requires_grad_(), layer.mlps[0][0].norm
    assert torch.autograd.gradcheck(
        lambda values, factors: set_abstraction(*rest, values, 2.0, 4, [(factors, norm)]), (features, weights)
    )


def test_a_frame_gives_the_same_alone_and_in_a_batch():
    layer = module().eval()
    points, point_counts, centres, centre_counts, features = inputs(points=(60, 70, 80))
    together = layer(points, point_counts, centres, centre_counts, features)[1].split(centre_counts.tolist())
    parts = [
        values.split(numbers.tolist())
        for values, numbers in ((points, point_counts), (centres, centre_counts), (features, point_counts))
    ]
    for frame, (cloud, around, values) in enumerate(zip(*parts, strict=True)):
        alone = layer(cloud, counts(len(cloud)), around, counts(len(around)), values)[1]
        torch.testing.assert_close(alone, together[frame])


def test_centres_without_neighbours():
    layer = module().train()
    points, point_counts, centres, centre_counts, features = inputs()
    output = layer(points, point_counts, centres + 1000, centre_counts, features)[1]
    assert (output == output[0]).all()
    output.sum().backward()
    assert (features.grad == 0).all()


@pytest.mark.parametrize('change', ['average', 'hook', 'coordinates', 'no features', 'other norm'])
def test_other_modules_go_the_stock_way(change):
    from mmdet3d.models.layers.pointnet_modules import stack_point_sa_module

    layer, arguments = module(), list(inputs())
    if change == 'average':
        layer.pool_mod = 'avg'
    elif change == 'hook':
        layer.mlps[0][0].register_forward_hook(lambda *_: None)
    elif change == 'coordinates':
        arguments[2].requires_grad_()
    elif change == 'no features':
        layer, arguments[4] = module(channels=0), None
    else:
        layer.mlps[0][0].norm_name, norm = 'gn', torch.nn.GroupNorm(2, 8).double()
        layer.mlps[0][0].add_module('gn', norm)
    called = []
    original = stack_point_sa_module.grouping_operation
    stack_point_sa_module.grouping_operation = lambda *args: (called.append(1), original(*args))[1]
    try:
        layer(*arguments)
    finally:
        stack_point_sa_module.grouping_operation = original
    assert called
