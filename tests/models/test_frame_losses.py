"""Losses of single frames: equal to the stock detector's, weighted and masked where it is asked for."""

import copy

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from tests.helpers.paths import TINY
from tests.models import single_stages

BOXES = torch.tensor([[4.0, 1, -1.9, 3.9, 1.6, 1.5, 0.1], [8.0, -3, -1.9, 0.8, 0.6, 1.7, 0.0]])
LABELS = torch.tensor([2, 0])


@pytest.fixture(scope='module')
def detector():
    init_default_scope('mmdet3d')
    torch.manual_seed(0)
    model = MODELS.build(read_config(TINY).model)
    model.init_weights()
    for module in model.modules():  # so that two forwards of the same cloud agree
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for assigner in model.roi_head.bbox_assigner:  # so that untrained proposals are positive
        assigner.pos_iou_thr = assigner.neg_iou_thr = assigner.min_pos_iou = 1e-3
    return model.train()


def sample_of(boxes=BOXES, labels=LABELS, weights=None, **meta):
    sample = Det3DDataSample(metainfo={'box_type_3d': LiDARInstance3DBoxes, **meta})
    if boxes is not None:
        sample.gt_instances_3d = InstanceData(bboxes_3d=LiDARInstance3DBoxes(boxes), labels_3d=labels)
        if weights is not None:
            sample.gt_instances_3d.weights = torch.tensor(weights)
    return sample


def inputs_of(detector, samples, seed=1):
    rng = np.random.default_rng(seed)
    clouds = []
    for _ in samples:
        ground = rng.uniform((0, -6, -2, 0), (12.8, 6, -1.8, 1), (500, 4))
        objects = [rng.uniform(-0.5, 0.5, (150, 3)) * box[3:6].numpy() + box[:3].numpy() for box in BOXES]
        inside = np.concatenate(objects) + np.array((0, 0, 0.75))
        clouds.append(np.concatenate((ground, np.column_stack((inside, rng.random(len(inside)))))))
    data = {
        'inputs': {'points': [torch.tensor(cloud, dtype=torch.float32) for cloud in clouds]},
        'data_samples': samples,
    }
    return detector.data_preprocessor(data, True)['inputs']


def losses_of(detector, samples, frame=0):
    torch.manual_seed(5)
    return detector.frame_outputs(inputs_of(detector, samples), samples)[frame]


def class_gradient(detector, sample):
    """The gradient of the RPN's classification loss by its ``(A * C, H, W)`` logits."""
    maps = []
    hook = detector.rpn_head.register_forward_hook(lambda _, __, output: maps.append(output[0][0]))
    loss = losses_of(detector, [sample]).losses['loss_rpn_cls']
    hook.remove()
    return torch.autograd.grad(loss, maps[0])[0][0]


def test_one_frame_loses_what_the_stock_detector_says(detector):
    samples = [sample_of()]
    found = losses_of(detector, samples).losses
    torch.manual_seed(5)
    stock = detector.loss(inputs_of(detector, samples), [sample_of()])
    stock = {name: sum(value) if isinstance(value, list) else value for name, value in stock.items()}
    assert found.keys() == stock.keys()
    for name, value in stock.items():
        torch.testing.assert_close(found[name].sum(), value.sum(), msg=name)
        assert value.sum() > 0, name


def test_frames_without_targets_lose_nothing_and_share_the_forward(detector):
    samples = [sample_of(), sample_of(None)]
    torch.manual_seed(5)
    labelled, free = detector.frame_outputs(inputs_of(detector, samples), samples)
    assert free.losses == {}
    assert free.boxes.shape == (len(free.labels), 7)
    assert 0 < len(free.labels) <= 16
    assert free.logits.requires_grad
    assert labelled.rpn_scores.shape == free.rpn_scores.shape == (18, *labelled.rpn_scores.shape[1:])
    assert labelled.rpn_residuals.shape[0] == 42


def test_weights_of_one_change_nothing_and_a_weight_counts_for_its_box_alone(detector):
    plain = losses_of(detector, [sample_of()])
    ones = losses_of(detector, [sample_of(weights=[1.0, 1.0])])
    assert all(torch.equal(plain.losses[name], ones.losses[name]) for name in plain.losses)
    half = losses_of(detector, [sample_of(weights=[0.5, 1.0])])
    for name in ('loss_rpn_dir', 'loss_semantic', 'loss_corner'):
        torch.testing.assert_close(half.losses[name], plain.losses[name])
    assert half.losses['loss_rpn_cls'] < plain.losses['loss_rpn_cls']
    # The gradient of the RPN's classes changes at the car's positive anchors only, and there by exactly one half.
    gradients = [class_gradient(detector, sample_of()), class_gradient(detector, sample_of(weights=[0.5, 1.0]))]
    changed = gradients[0] != gradients[1]
    assert changed.any()
    torch.testing.assert_close(gradients[1][changed], gradients[0][changed] / 2)
    anchors = changed.reshape(3, 2, 3, *changed.shape[1:])  # size, rotation, class, y, x
    assert not anchors[:2].any()  # anchors of the other two sizes


def test_only_positives_are_learnt_where_it_is_asked_for(detector):
    output, full = losses_of(detector, [sample_of(ignore_negatives=True)]), losses_of(detector, [sample_of()])
    gradient = class_gradient(detector, sample_of(ignore_negatives=True))
    everywhere = class_gradient(detector, sample_of())
    kept = gradient != 0
    assert 0 < kept.float().mean() < 0.05
    assert (everywhere != 0).float().mean() > 0.9
    torch.testing.assert_close(gradient[kept], everywhere[kept])
    assert output.losses['loss_semantic'] < full.losses['loss_semantic']


def test_a_frame_without_boxes_teaches_nothing_with_positives_only(detector):
    empty = sample_of(torch.zeros(0, 7), torch.zeros(0, dtype=torch.long), ignore_negatives=True)
    losses = losses_of(detector, [sample_of(), empty], frame=1).losses
    assert all(float(value.sum()) == 0 for value in losses.values()), losses


@pytest.fixture(scope='module', params=['pillars', 'second'])
def single_stage(request):
    return single_stages.detector(request.param).train()


def test_one_frame_of_a_single_stage_loses_what_its_head_says(single_stage):
    """The head's own loss takes a lean way; both forwards use the statistics of the same one frame."""
    sample = sample_of()
    inputs = inputs_of(single_stage, [sample])
    expected = single_stage.loss(copy.deepcopy(inputs), [copy.deepcopy(sample)])
    (output,) = single_stage.frame_outputs(inputs, [sample])
    assert set(output.losses) == set(expected) == set(single_stage.pseudo_label_losses)
    for name, value in output.losses.items():
        torch.testing.assert_close(value, sum(expected[name]), rtol=0.03, atol=1e-4)  # bfloat16 where it is fast


def test_a_single_stage_heeds_weights_and_positives_only(single_stage):
    def losses(boxes=BOXES, labels=LABELS, **options):
        samples = [sample_of(boxes, labels, **options)]
        return single_stage.frame_outputs(inputs_of(single_stage, samples), samples)[0].losses

    plain, ones, halves = losses(), losses(weights=[1.0, 1.0]), losses(weights=[0.5, 0.5])
    assert all(torch.equal(plain[name], ones[name]) for name in plain)
    torch.testing.assert_close(halves['loss_bbox'], plain['loss_bbox'] / 2)
    assert 0 < losses(ignore_negatives=True)['loss_cls'] < plain['loss_cls']
    nothing = losses(BOXES[:0], LABELS[:0], ignore_negatives=True)
    assert all(float(value) == 0 for value in nothing.values())


def test_frames_of_a_single_stage_without_targets_give_maps_alone(single_stage):
    samples = [sample_of(), sample_of(boxes=None)]
    labelled, free = single_stage.frame_outputs(inputs_of(single_stage, samples), samples)
    assert labelled.losses
    assert not free.losses
    anchors = single_stage.anchor_generator.num_base_anchors
    assert free.rpn_scores.shape[0] == anchors * single_stage.bbox_head.num_classes
    assert free.rpn_residuals.shape == (anchors * 7, *free.rpn_scores.shape[1:])
