"""Pillar features without padding against MMDetection3D's encoder and scatter."""

import copy

import pytest
import torch
from mmdet3d.registry import MODELS

from ssal3d.models.pillar_canvas import is_plain_pillar_net, pillar_canvas
from tests.models.single_stages import LIMITS, batch, detector


@pytest.fixture
def voxels():
    model = detector('pillars')
    return model.data_preprocessor(batch(points=9000))['inputs']['voxels']


def modules(**changes):
    config = dict(type='PillarFeatureNet', in_channels=4, feat_channels=[7], voxel_size=[0.2, 0.2, 4])
    encoder = MODELS.build(config | dict(point_cloud_range=LIMITS, with_distance=False) | changes)
    torch.manual_seed(0)
    for norm in [module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm1d)]:
        torch.nn.init.uniform_(norm.weight, -1, 1)  # also a falling one: free slots then matter
        torch.nn.init.normal_(norm.bias)
        norm.running_mean.uniform_()
        norm.running_var.uniform_(1, 2)
    return encoder, MODELS.build(dict(type='PointPillarsScatter', in_channels=7, output_shape=[64, 64]))


def stock(encoder, scatter, voxels):
    voxels = {name: value.clone() for name, value in voxels.items()}  # the legacy encoder writes into them
    features = encoder(voxels['voxels'], voxels['num_points'], voxels['coors'])
    return scatter(features, voxels['coors'], 2)


@pytest.mark.parametrize('legacy', [True, False])
@pytest.mark.parametrize('training', [True, False])
def test_the_map_its_gradients_and_the_statistics_are_the_stock_ones(voxels, legacy, training):
    encoder, scatter = modules(legacy=legacy)
    ours, theirs = encoder.train(training), copy.deepcopy(encoder).train(training)
    counts = voxels['num_points']
    assert counts.min() < 8 <= counts.max()  # half-full and full pillars
    found, expected = pillar_canvas(ours, scatter, voxels, 2), stock(theirs, scatter, voxels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)
    weights = torch.randn_like(expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-3, atol=1e-4)
    for own, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(own, other)


def test_encoders_of_another_kind_go_the_stock_way():
    assert is_plain_pillar_net(*modules())
    for changes in (
        dict(feat_channels=[7, 7]),
        dict(with_distance=True),
        dict(with_voxel_center=False),
        dict(mode='avg'),
    ):
        assert not is_plain_pillar_net(*modules(**changes))
