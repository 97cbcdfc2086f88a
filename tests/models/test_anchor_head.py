"""The lean way to train anchors against MMDetection3D's own assigner, targets and losses."""

import copy
from unittest import mock

import numpy as np
import pytest
import torch
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from mmdet3d.registry import MODELS, TASK_UTILS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.models.anchor_targets import IGNORED, assign_anchors
from ssal3d.models.lean_anchor_losses import LeanAnchorLosses
from ssal3d.models.sparse_focal_loss import sparse_focal_loss
from tests.helpers.paths import TINY
from tests.models.single_stages import batch, detector, street

LEAN = LeanAnchorLosses.lean_losses
THRESHOLDS = [(0.5, 0.35, 0.35), (0.5, 0.35, 0.35), (0.6, 0.45, 0.45)]


def heads(**changes):
    """Return our head and the stock one with the same weights, in training mode."""
    ours, theirs = (detector('pillars', stock=stock).bbox_head.train() for stock in (False, True))
    for head in (ours, theirs):
        for name, value in changes.items():
            setattr(head, name, copy.deepcopy(value))
    return ours, theirs


def losses_and_gradients(head, maps, samples):
    maps = maps.clone().requires_grad_()
    losses = head.loss([maps], copy.deepcopy(samples))
    sum(value for (value,) in losses.values()).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in head.named_parameters()}
    return losses, {**gradients, 'maps': maps.grad}


def assert_same(found, gradients, expected, expected_gradients):
    assert found.keys() == expected.keys()
    for key in found:
        torch.testing.assert_close(found[key][0], expected[key][0], rtol=1e-5, atol=1e-6)
    for key in gradients:
        torch.testing.assert_close(gradients[key], expected_gradients[key], rtol=1e-4, atol=1e-6)


def crowded():
    """Boxes that overlap each other, one that is exactly an anchor, twins, and some at the border or beyond it."""
    rows, labels = street(5, 8)
    anchor = [[6.2, 0.2, -1.6, 0.8, 0.6, 1.73, 0.0]]
    between = [[6.4, 0.4, -1.6, 3.9, 1.6, 1.56, 0.0]] * 2  # equally far from four anchors, and another box's twin
    border = [[0.05, 6.35, -1.6, 3.9, 1.6, 1.56, 1.0], [13.5, 0, -1.6, 3.9, 1.6, 1.56, 0.0]]
    return np.concatenate((rows, rows[:3] + 0.1, anchor, between, border)), [*labels, *labels[:3], 0, 2, 2, 2, 2]


@pytest.mark.parametrize('per_class', [True, False])
@pytest.mark.parametrize('boxes', [[street(0, 6), street(1, 3)], [crowded(), ([], [])], [([], []), ([], [])]])
def test_losses_and_gradients_are_the_stock_ones(boxes, per_class):
    ours, theirs = heads(assign_per_class=per_class)
    samples = batch(boxes=boxes)['data_samples']
    torch.manual_seed(3)
    maps = torch.randn(2, 48, 32, 32).contiguous(memory_format=torch.channels_last)
    assert ours.is_lean([maps])
    found, gradients = losses_and_gradients(ours, maps, samples)
    expected, expected_gradients = losses_and_gradients(theirs, maps, samples)
    assert_same(found, gradients, expected, expected_gradients)


def test_code_weights_count_as_in_the_stock_head():
    ours, theirs = heads()
    for head in (ours, theirs):
        head.train_cfg.code_weight = [1.0, 1, 1, 0.5, 0.5, 0.5, 2]
    samples = batch(boxes=[street(0, 6), street(1, 3)])['data_samples']
    maps = torch.randn(2, 48, 32, 32)
    found, expected = (losses_and_gradients(head, maps, samples)[0] for head in (ours, theirs))
    torch.testing.assert_close(found['loss_bbox'][0], expected['loss_bbox'][0], rtol=1e-5, atol=1e-6)


def rpn_losses(kind, boxes, weights=None, **meta):
    """Losses of a small PV-RCNN's proposal head, ours or the stock one, and the gradients of its parameters."""
    torch.manual_seed(0)
    model = read_config(TINY).model
    head = MODELS.build(dict(model.rpn_head, type=kind, train_cfg=model.train_cfg.rpn, test_cfg=model.test_cfg.rpn))
    samples = batch(boxes=boxes)['data_samples']
    truths = [sample.gt_instances_3d for sample in samples]
    for truth in truths if weights else ():
        truth.weights = torch.full((len(truth.labels_3d),), weights)
    maps = torch.randn(2, 128, 32, 32, generator=torch.Generator().manual_seed(3))
    metas = [dict(sample.metainfo, **meta) for sample in samples]
    losses = head.loss_by_feat(*head([maps]), truths, metas)
    sum(value for (value,) in losses.values()).backward()
    return losses, {name: parameter.grad for name, parameter in head.named_parameters()}


@pytest.mark.parametrize('boxes', [[street(0, 6), street(1, 3)], [crowded(), ([], [])], [([], []), ([], [])]])
def test_losses_of_proposals_are_the_stock_ones(boxes):
    with mock.patch.object(LeanAnchorLosses, 'lean_losses', autospec=True, side_effect=LEAN) as lean:
        found, gradients = rpn_losses('ActivePartA2RPNHead', boxes)
    assert lean.called
    expected, expected_gradients = rpn_losses('PartA2RPNHead', boxes)
    assert_same(found, gradients, expected, expected_gradients)


def test_there_are_positive_anchors_of_proposals():
    assert rpn_losses('ActivePartA2RPNHead', [street(0, 6), street(1, 3)])[0]['loss_rpn_dir'][0] > 0


@pytest.mark.parametrize('options', [{'weights': 0.3}, {'ignore_negatives': True}])
def test_weighted_boxes_and_ignored_negatives_count_as_by_the_targets_of_the_stock_head(options):
    boxes = [street(0, 6), street(1, 3)]
    found, gradients = rpn_losses('ActivePartA2RPNHead', boxes, **options)
    with mock.patch.object(LeanAnchorLosses, 'is_lean', return_value=False):
        expected, expected_gradients = rpn_losses('ActivePartA2RPNHead', boxes, **options)
    assert_same(found, gradients, expected, expected_gradients)
    plain, _ = rpn_losses('ActivePartA2RPNHead', boxes)
    assert found['loss_rpn_cls'][0] < plain['loss_rpn_cls'][0]


def test_what_the_lean_way_does_not_know_goes_the_stock_way():
    ours, theirs = heads()
    maps = torch.randn(2, 48, 32, 32)
    for head in (ours, theirs):
        head.bbox_assigner[0].match_low_quality = False
    assert not ours.is_lean([maps])
    assert not ours.is_lean([maps, maps])
    assert not ours.is_lean([maps.double()])
    samples = batch(boxes=[street(0, 6), street(1, 3)])['data_samples']
    found, expected = (losses_and_gradients(head, maps, samples)[0] for head in (ours, theirs))
    for key in found:
        torch.testing.assert_close(found[key][0], expected[key][0])


def test_a_head_without_one_vs_all_logits_is_refused():
    config = dict(
        type='ActiveAnchor3DHead',
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False),
        anchor_generator=dict(type='Anchor3DRangeGenerator', ranges=[[0, 0, 0, 1, 1, 0]], sizes=[[1, 1, 1]]),
    )
    with pytest.raises(UserError, match='class_logits'):
        MODELS.build(config)


def test_one_product_gives_the_maps_of_three_convolutions():
    ours, theirs = heads()
    maps = torch.randn(2, 48, 32, 32)
    for found, expected in zip(ours([maps]), theirs([maps]), strict=True):
        torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('per_class', [True, False])
def test_anchors_are_assigned_as_by_the_stock_assigner(seed, per_class):
    head = detector('pillars').bbox_head
    anchors, grid = head._grid(torch.zeros(1, 48, 32, 32))
    rows, labels = crowded() if seed == 0 else street(seed, 12)
    boxes, labels = LiDARInstance3DBoxes(torch.tensor(rows, dtype=torch.float32)), torch.tensor(np.array(labels))
    found = assign_anchors(grid.numpy(), boxes.nearest_bev.numpy(), labels.numpy(), THRESHOLDS, per_class)
    kinds = anchors.reshape(32 * 32, 3, 2, 7)
    for size, (positive, negative, lowest) in enumerate(THRESHOLDS):
        own = (labels == size).nonzero().flatten() if per_class else torch.arange(len(labels))
        rule = TASK_UTILS.build(
            dict(
                type='Max3DIoUAssigner',
                iou_calculator=dict(type='BboxOverlapsNearest3D'),
                pos_iou_thr=positive,
                neg_iou_thr=negative,
                min_pos_iou=lowest,
            )
        )
        truth = InstanceData(bboxes_3d=boxes.tensor[own], labels_3d=labels[own])
        expected = rule.assign(InstanceData(priors=kinds[:, size].reshape(-1, 7)), truth).gt_inds
        expected = torch.where(expected > 0, own[(expected - 1).clamp(min=0)] + 1 if len(own) else expected, expected)
        assert found[:, :, size].reshape(-1).tolist() == expected.tolist()
    assert (found > 0).any()
    assert (found == IGNORED).any()


@pytest.mark.parametrize('gamma', [2.0, 1.5])
def test_the_focal_loss_is_mmdets(gamma):
    torch.manual_seed(0)
    logits = (torch.randn(500, 3) * 4).requires_grad_()
    positives, ignored = torch.tensor([3, 77, 490]), torch.tensor([5, 6, 400])
    labels = torch.tensor([2, 0, 1])
    targets, weights = torch.zeros(500, 3), torch.ones(500)
    targets[positives, labels], weights[ignored] = 1, 0
    expected = py_sigmoid_focal_loss(logits, targets, weights, gamma=gamma, alpha=0.25, reduction='sum')
    (expected_gradient,) = torch.autograd.grad(3 * expected, logits)
    found = sparse_focal_loss(logits, positives, labels, ignored, 0.25, gamma)
    (gradient,) = torch.autograd.grad(3 * found, logits)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-6)
