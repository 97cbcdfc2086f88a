"""Layers that we prefer give what MMDetection3D's give, without what makes those slow."""

import copy
import types
from unittest import mock

import pytest
import torch
from mmcv.ops import furthest_point_sample
from mmdet3d.models.dense_heads import PartA2RPNHead, parta2_rpn_head
from mmdet3d.models.layers.pointnet_modules import stack_point_sa_module
from mmdet3d.models.layers.pointnet_modules.stack_point_sa_module import StackedSAModuleMSG, StackQueryAndGroup
from mmdet3d.models.middle_encoders import VoxelSetAbstraction, voxel_set_abstraction
from mmdet3d.models.roi_heads.bbox_heads import PVRCNNBBoxHead
from mmdet3d.models.task_modules.anchor import AlignedAnchor3DRangeGenerator, Anchor3DRangeGenerator
from mmdet3d.registry import MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.models.fast_layers import (
    FAST,
    FastPartA2RPNHead,
    FastQueryAndGroup,
    FastSetAbstraction,
    FastVoxelSetAbstraction,
    PointwiseConv2d,
    RememberedAlignedAnchors,
    RememberedAnchors,
    first_survivors,
    key_points_at_once,
    use_fast_layers,
)
from ssal3d.runner import QuietRunner
from tests.devices.imagined import DEVICE, ImaginedGPU
from tests.helpers.paths import TINY
from tests.helpers.timing import seconds


def cloud(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 4, generator=generator) * torch.tensor([80.0, 90, 5, 1]) - torch.tensor([5.0, 45, 3.2, 0])


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


@pytest.mark.parametrize(('module', 'together'), [(VoxelSetAbstraction, False), (FastVoxelSetAbstraction, True)])
def test_key_points_of_two_frames_of_another_device_are_chosen_together(module, together):
    seen = []

    def sample(points, count):
        seen.append(tuple(points.shape))
        return torch.zeros(len(points), count, dtype=torch.int32, device=points.device)

    encoder = module.__new__(module)
    torch.nn.Module.__init__(encoder)
    encoder.voxel_center_as_source, encoder.num_keypoints = False, 4
    clouds = [torch.zeros(count, 4, device='meta') for count in (1100, 1200)]
    with (
        mock.patch.object(voxel_set_abstraction, 'furthest_point_sample', sample),
        mock.patch('mmcv.ops.furthest_point_sample', sample),
    ):
        encoder.sample_key_points(clouds, None)
    assert seen == ([(2, 1200, 3)] if together else [(1, 1100, 3), (1, 1200, 3)])


@pytest.mark.parametrize(('use_xyz', 'channels'), [(True, 5), (False, 5), (True, 0)])
def test_neighbours_are_those_of_stock_also_where_there_are_none(use_xyz, channels):
    generator = torch.Generator().manual_seed(0)
    points, features = torch.rand(60, 3, generator=generator), torch.rand(60, channels, generator=generator)
    far = torch.full((2, 3), 9.0)  # from every point; they belong to the second frame
    centres = torch.cat((points[::4], far))
    counts = torch.tensor([36, 24], dtype=torch.int32), torch.tensor([9, 8], dtype=torch.int32)

    def grouped(kind):
        leaves = [part.clone().requires_grad_() for part in (points, features)]
        found, rows = kind(0.3, 8, use_xyz)(leaves[0], counts[0], centres, counts[1], leaves[1] if channels else None)
        (found * torch.arange(found.numel()).view_as(found)).sum().backward()
        return [found, rows, *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    found, expected = grouped(FastQueryAndGroup), grouped(StackQueryAndGroup)
    assert len(found) == len(expected) == 2 + (use_xyz or not channels) + (channels > 0)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    assert not found[0][-2:].any()


def test_the_device_is_not_waited_for_to_find_neighbours():
    points, counts = torch.rand(60, 3), torch.tensor([60], dtype=torch.int32)
    waits = {}
    for kind in (StackQueryAndGroup, FastQueryAndGroup):
        with ImaginedGPU() as gpu:
            there, many = points.to(DEVICE), counts.to(DEVICE)
            gpu.reset()
            kind(0.3, 8)(there, many, there, many, there)
            waits[kind] = sum(gpu.waits.values())
    assert waits == {StackQueryAndGroup: 5, FastQueryAndGroup: 0}


@pytest.mark.parametrize(('module', 'repeated'), [(StackedSAModuleMSG, [16]), (FastSetAbstraction, [])])
def test_set_abstraction_normalises_no_repetitions(module, repeated):
    """One neighbour, which padding repeats 16 times."""
    seen = []
    layer = module(1, [1.0], [16], [[2]])

    def forward(_, values):
        seen.append(values.shape[-1])
        return values

    one, point = torch.ones(1, dtype=torch.int32), torch.zeros(1, 3)
    found = torch.zeros(1, 16, dtype=torch.int32)
    with (
        mock.patch.object(torch.nn.BatchNorm2d, 'forward', forward),
        mock.patch.object(stack_point_sa_module, 'ball_query', return_value=found),
        mock.patch.object(
            stack_point_sa_module, 'grouping_operation', lambda values, *_: values[:, :, None].repeat(1, 1, 16)
        ),
    ):
        layer(point, one, point, one, torch.ones(1, 1))
    assert seen == repeated


@pytest.mark.parametrize(('head', 'handed'), [(PartA2RPNHead, 3), (FastPartA2RPNHead, 1)])
def test_suppression_stops_when_there_are_enough_proposals(head, handed):
    """Three boxes apart, of which one is wanted."""
    seen = []
    made = head.__new__(head)
    torch.nn.Module.__init__(made)
    made.dir_offset, made.dir_limit_offset, made.bbox_coder = 0.0, 0.0, types.SimpleNamespace(code_size=7)
    made.box_code_size = 7
    cfg = ConfigDict(use_rotate_nms=True, nms_thr=0.8, nms_post=1)
    boxes = torch.tensor([[10.0 * k, 0, 0, 4, 2, 2, 0] for k in range(3)])
    flat = torch.tensor([[10.0 * k, 0, 10.0 * k + 4, 2, 0] for k in range(3)])
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.long)

    def keep_all(boxes, scores, threshold):
        seen.append(len(boxes))
        return torch.arange(len(boxes))

    with mock.patch.object(parta2_rpn_head, 'nms_bev', keep_all):
        proposals = made.class_agnostic_nms(
            boxes, flat, scores, labels, scores[:, None], labels, 0.0, cfg, {'box_type_3d': LiDARInstance3DBoxes}
        )
    assert seen == [handed]
    assert proposals['scores_3d'].tolist() == [pytest.approx(0.9)]


def test_first_survivors_are_those_of_full_suppression():
    from mmdet3d.models.layers import nms_bev

    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(300, 2, generator=generator) * 20
    boxes = torch.cat((corners, corners + torch.rand(300, 2, generator=generator) * 4 + 0.5, corners[:, :1]), 1)
    scores = torch.rand(300, generator=generator)
    possible = (scores > 0.2).nonzero().view(-1)
    full = possible[nms_bev(boxes[possible], scores[possible], 0.3)]
    assert first_survivors(boxes, scores, 0.2, 0.3, 25).tolist() == full[:25].tolist()
    assert first_survivors(boxes, scores, 0.2, 0.3, 1000).tolist() == full.tolist()
    assert first_survivors(boxes, scores, 2.0, 0.3, 25).tolist() == []


def test_pointwise_convolution_computes_the_same():
    layer = torch.nn.Conv2d(6, 4, 1).double()
    values = torch.rand(5, 6, 1, 1, dtype=torch.float64)
    expected = layer(values), layer(values.expand(5, 6, 2, 3))
    layer.__class__ = PointwiseConv2d
    for result, reference in zip((layer(values), layer(values.expand(5, 6, 2, 3))), expected, strict=True):
        torch.testing.assert_close(result, reference)


def test_the_first_layer_of_the_box_head_takes_longer_as_a_convolution():
    layer, values = PVRCNNBBoxHead(64, 4, 1).shared_fc_layer[0].conv, torch.rand(128, 64 * 4**3, 1, 1)
    product = copy.deepcopy(layer)
    product.__class__ = PointwiseConv2d
    with torch.no_grad():
        assert seconds(lambda: layer(values)) > 1.5 * seconds(lambda: product(values))


@pytest.mark.parametrize(
    ('kind', 'again'),
    [
        (AlignedAnchor3DRangeGenerator, False),
        (RememberedAlignedAnchors, True),
        (Anchor3DRangeGenerator, False),
        (RememberedAnchors, True),
    ],
)
def test_anchors_are_made_once_for_a_size(kind, again):
    generator = kind(ranges=[[0, 0, 0, 4, 4, 0]], sizes=[[1, 1, 1]], reshape_out=False)
    first, second = (generator.grid_anchors([(2, 2)], device='cpu')[0] for _ in range(2))
    assert torch.equal(first, second)
    assert (first.data_ptr() == second.data_ptr()) == again
    assert generator.grid_anchors([(2, 3)], device='cpu')[0].shape != first.shape


def fast_parts(model):
    return sorted(
        type(part).__name__
        for module in model.modules()
        for part in (module, getattr(module, 'prior_generator', None))
        if type(part) in (*FAST.values(), PointwiseConv2d)
    )


def test_our_detector_and_our_runner_have_fast_layers_and_other_models_do_not():
    init_default_scope('mmdet3d')
    config = read_config(TINY).model
    model = MODELS.build(config)
    assert set(fast_parts(model)) == {
        'FastQueryAndGroup',
        'FastSetAbstraction',
        'FastVoxelSetAbstraction',
        'PointwiseConv2d',
        'RememberedAnchors',
    }
    head = torch.nn.Module()
    head.prior_generator = AlignedAnchor3DRangeGenerator(ranges=[[0, 0, 0, 4, 4, 0]], sizes=[[1, 1, 1]])
    plain = torch.nn.ModuleList([StackedSAModuleMSG(1, [1.0], [16], [[2]]), PVRCNNBBoxHead(4, 2, 1), head])
    names = list(plain.state_dict())
    assert not fast_parts(plain)
    assert QuietRunner.build_model(mock.Mock(spec=QuietRunner), plain) is plain
    assert set(fast_parts(plain)) == {
        'FastQueryAndGroup',
        'FastSetAbstraction',
        'PointwiseConv2d',
        'RememberedAlignedAnchors',
    }
    assert list(plain.state_dict()) == names
    use_fast_layers(plain)  # once more changes nothing
    assert list(plain.state_dict()) == names
