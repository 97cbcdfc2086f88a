"""PV-RCNN's extras: same predictions as the stock classes, and extras that belong to the right boxes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.models.pvrcnn import monte_carlo_passes, stack_rois

STOCK = {
    'ActivePointVoxelRCNN': 'PointVoxelRCNN',
    'ActivePartA2RPNHead': 'PartA2RPNHead',
    'ActivePVRCNNRoiHead': 'PVRCNNRoiHead',
    'ActivePVRCNNBBoxHead': 'PVRCNNBBoxHead',
}


def to_stock(config):
    if isinstance(config, dict):
        own = {'mc_passes', 'mc_seed', 'keep_roi_features', 'max_rois'}
        return {k: STOCK.get(v, v) if k == 'type' else to_stock(v) for k, v in config.items() if k not in own}
    return [to_stock(value) for value in config] if isinstance(config, list) else config


@pytest.fixture(scope='module')
def config():
    init_default_scope('mmdet3d')
    return Config.fromfile(Path(__file__).parents[1] / 'loop' / 'tiny.py').model


@pytest.fixture(scope='module')
def model(config):
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    return model.eval()


def batch(frames=2, points=600):
    rng = np.random.default_rng(1)
    clouds = [
        torch.tensor(rng.uniform((0, -6, -2, 0), (12.8, 6, 0, 1), (points, 4)), dtype=torch.float32)
        for _ in range(frames)
    ]
    meta = {'box_type_3d': LiDARInstance3DBoxes}
    return {'inputs': {'points': clouds}, 'data_samples': [Det3DDataSample(metainfo=meta) for _ in range(frames)]}


def predict(model, data):
    with torch.no_grad():
        return model.test_step(data)


def test_stock_checkpoint_loads_and_predicts_the_same(model, config):
    stock = MODELS.build(Config(dict(model=to_stock(config))).model).eval()
    stock.load_state_dict(model.state_dict(), strict=True)
    for ours, theirs in zip(predict(model, batch()), predict(stock, batch())):
        assert len(ours.pred_instances_3d) > 0
        torch.testing.assert_close(ours.pred_instances_3d.bboxes_3d.tensor, theirs.pred_instances_3d.bboxes_3d.tensor)
        torch.testing.assert_close(ours.pred_instances_3d.scores_3d, theirs.pred_instances_3d.scores_3d)
        assert torch.equal(ours.pred_instances_3d.labels_3d, theirs.pred_instances_3d.labels_3d)


def test_extras_belong_to_their_boxes(model):
    rois, shared = {}, {}
    hooks = [
        model.roi_head.bbox_head.cls_layer.register_forward_hook(
            lambda _, inputs, output: rois.update(features=inputs[0].flatten(1), scores=output.flatten().sigmoid())
        ),
        model.rpn_head.register_forward_hook(lambda _, __, output: shared.update(logits=output[0][0])),
    ]
    samples = predict(model, batch())
    for hook in hooks:
        hook.remove()
    per_frame = len(rois['scores']) // 2
    maps = shared['logits'].permute(0, 2, 3, 1).reshape(2, -1, 3)
    for frame, sample in enumerate(samples):
        found = sample.pred_instances_3d
        rows = frame * per_frame + found.roi_index
        torch.testing.assert_close(found.scores_3d, rois['scores'][rows])
        torch.testing.assert_close(found.box_features, rois['features'][rows])
        assert (found.box_features >= 0).all()
        # Every class vector is one of the RPN's, and its largest logit is the box's class.
        distance = torch.cdist(found.class_logits.double(), maps[frame].double()).amin(1)
        assert distance.max() < 1e-4
        assert torch.equal(found.class_logits.argmax(1), found.labels_3d)


@pytest.mark.parametrize('nms_pre', [64, 100_000])
def test_logits_are_logits_whether_anchors_were_pruned_or_not(model, nms_pre):
    before = model.rpn_head.test_cfg.nms_pre
    model.rpn_head.test_cfg.nms_pre = nms_pre
    try:
        logits = predict(model, batch(1))[0].pred_instances_3d.class_logits
    finally:
        model.rpn_head.test_cfg.nms_pre = before
    assert (logits < 0).any()  # an untrained focal head starts near probability 0.01


def test_frames_without_rois_anywhere_in_the_batch(model):
    boxes = torch.tensor([[1.0, 2, 0, 4, 2, 1.5, 0.1]])
    rois = stack_rois([boxes[:0], boxes, boxes[:0]])
    assert rois.tolist()[0][:3] == [1.0, 1.0, 2.0]
    head = model.roi_head.bbox_head
    results = head.get_results(
        rois,
        torch.tensor([[3.0]]),
        torch.zeros(1, 7),
        [torch.empty(0), torch.tensor([2]), torch.empty(0)],
        [{'box_type_3d': LiDARInstance3DBoxes}] * 3,
        model.roi_head.test_cfg,
    )
    assert [len(result) for result in results] == [0, 1, 0]
    assert results[1].labels_3d.tolist() == [2]
    assert all(result.roi_index.dtype == torch.long for result in results)


def test_monte_carlo_passes_vary_and_change_nothing(model):
    head = model.roi_head.bbox_head
    pooled = torch.rand(5, 4, 4, 4, 32)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    state = torch.get_rng_state()
    with torch.no_grad():
        scores, residuals = monte_carlo_passes(head, pooled, 5, seed=3)
        again, _ = monte_carlo_passes(head, pooled, 5, seed=3)
    assert scores.shape == (5, 5)
    assert residuals.shape == (5, 5, 7)
    assert torch.equal(scores, again)
    assert scores.var(0).max() > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    assert not any(module.training for module in head.modules())


def test_roi_level_extras_are_padded(config):
    config = Config(dict(model=config)).copy().model
    config.roi_head.update(keep_roi_features=True, mc_passes=2, max_rois=40)
    model = MODELS.build(config).eval()
    model.init_weights()
    for sample in predict(model, batch()):
        extras = sample.frame_predictions
        count = int(extras['roi_valid'].sum())
        assert extras['roi_features'].shape == (40, 64)
        assert not extras['roi_features'][count:].any()
        assert extras['mc_scores'].shape == (2, count)
        kept = sample.pred_instances_3d
        torch.testing.assert_close(kept.box_features, extras['roi_features'][kept.roi_index])
