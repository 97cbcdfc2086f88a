"""Anchors and boxes against MMDetection3D's own generator and assigner."""

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import ssal3d.register  # noqa: F401
from ssal3d.checks.anchors import anchors_by_class, compare_with_boxes, share_of_places
from ssal3d.checks.subject import Subject
from ssal3d.configs import read_config


def subject(name='pvrcnn_sim', **overrides):
    config = read_config(f'ssal3d::ssal/{name}.py', {key.replace('__', '.'): value for key, value in overrides.items()})
    return Subject(config.to_dict())


def boxes_in_range(anchors, number=200, seed=0):
    random = np.random.default_rng(seed)
    low, high = np.array(anchors.edges[:2]) + 2, np.array(anchors.edges[2:]) - 2
    sizes = anchors.sizes[0] * random.uniform(0.6, 1.5, (number, 2))
    places = random.uniform(low, high, (number, 2))
    height, yaw = np.full((number, 2), (-1.0, 1.6)), random.uniform(-4, 4, number)
    return np.column_stack((places, height[:, 0], sizes, height[:, 1], yaw)).astype(np.float32)


@pytest.mark.parametrize('name', ['pvrcnn_sim', 'pillars_sim'])
@pytest.mark.parametrize('label', range(3))
def test_the_best_overlap_is_that_of_the_assigner(name, label):
    init_default_scope('mmdet3d')
    given = subject(name)
    model = Config(dict(given.model))
    anchors = list(anchors_by_class(given).values())[label]
    if 'rpn_head' in model:
        head = MODELS.build(dict(model.rpn_head, train_cfg=model.train_cfg.rpn, test_cfg=model.test_cfg.rpn))
    else:
        head = MODELS.build(dict(model.bbox_head, train_cfg=model.train_cfg, test_cfg=model.test_cfg))
    boxes = boxes_in_range(anchors)
    priors = head.prior_generator.grid_anchors([anchors.cells[::-1]], device='cpu')[0][..., label, :, :].reshape(-1, 7)
    assigner = head.bbox_assigner[label]
    overlaps = assigner.iou_calculator(torch.from_numpy(boxes), priors).max(dim=1).values.numpy()
    np.testing.assert_allclose(anchors.overlaps(boxes), overlaps, atol=2e-4)
    truth = InstanceData(bboxes_3d=torch.from_numpy(boxes), labels_3d=torch.full((len(boxes),), label))
    wanted = anchors.overlaps(boxes) >= anchors.needed
    for index in np.flatnonzero(np.abs(anchors.overlaps(boxes) - anchors.needed) > 1e-3)[:40]:  # one at a time
        taken = assigner.assign(InstanceData(priors=priors), truth[int(index)]).gt_inds.max().item() > 0
        assert taken == wanted[index]


def test_classes_in_another_order_have_no_anchor_and_few_boxes_are_a_warning():
    found = anchors_by_class(subject())
    cars = boxes_in_range(found['Car'], 24)
    cars[:, 3:5] = 3.9, 1.6
    rows, wrong = compare_with_boxes(found, {'Pedestrian': cars, 'Car': cars})
    assert rows[0] == ('Pedestrian', 24, 24, 0)
    assert rows[1] == ('Cyclist', 0, 0, 0)
    assert rows[2][:3] == ('Car', 24, 24)
    assert rows[2][3] >= 22
    assert [(finding.severity, finding.key) for finding in wrong] == [
        ('error', 'model.rpn_head.anchor_generator.sizes.0')
    ]
    assert '0 of 24 labelled boxes of Pedestrian' in wrong[0].found
    cars[:6, 3:5] = 1.0, 1.0
    _, wrong = compare_with_boxes(found, {'Car': cars})
    assert [finding.severity for finding in wrong] == ['warning']
    cars[:, 0] += 500
    _, wrong = compare_with_boxes(found, {'Car': cars})
    assert '0 of 24 labelled boxes of Car in [' in wrong[0].found


def test_a_coarser_map_reaches_fewer_places():
    fine = share_of_places(anchors_by_class(subject())['Pedestrian'])
    coarse = share_of_places(anchors_by_class(subject(model__neck__upsample_strides=[1, 2]))['Pedestrian'])
    assert fine > 0.9 > coarse


def test_detectors_without_anchors_have_none():
    assert anchors_by_class(subject('centerpoint_kitti')) is None
