"""PV-RCNN's extras: same predictions as the stock classes, and extras that belong to the right boxes."""

import types

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.models.extraction import Extraction, extracting
from ssal3d.models.fast_layers import use_fast_layers
from ssal3d.models.gradients import outer_product_sums
from ssal3d.models.pvrcnn_bbox_head import ActivePVRCNNBBoxHead, monte_carlo_passes
from ssal3d.ops.rois import stack_rois
from tests.helpers.paths import TINY
from tools.gpu_checks.stock import to_stock


@pytest.fixture(scope='module')
def config():
    init_default_scope('mmdet3d')
    return read_config(TINY).model


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
    use_fast_layers(stock)  # without them random weights leave near ties, which rounding settles
    for ours, theirs in zip(predict(model, batch()), predict(stock, batch())):
        assert len(ours.pred_instances_3d) > 0
        torch.testing.assert_close(ours.pred_instances_3d.bboxes_3d.tensor, theirs.pred_instances_3d.bboxes_3d.tensor)
        torch.testing.assert_close(ours.pred_instances_3d.scores_3d, theirs.pred_instances_3d.scores_3d)
        assert torch.equal(ours.pred_instances_3d.labels_3d, theirs.pred_instances_3d.labels_3d)


def test_bfloat16_in_the_dense_part_changes_the_losses_of_proposals_by_less_than_two_percent(config):
    def losses(dtype):
        torch.manual_seed(0)
        model = MODELS.build(dict(config, dense_cpu_dtype=dtype)).train()
        data = batch()
        for sample in data['data_samples']:
            boxes = torch.tensor([[6.0, 1, -1.7, 3.9, 1.6, 1.5, 0.2], [9.0, -3, -1.7, 0.8, 0.6, 1.7, 0.1]])
            sample.gt_instances_3d = InstanceData(bboxes_3d=LiDARInstance3DBoxes(boxes), labels_3d=torch.tensor([2, 0]))
        return model(**model.data_preprocessor(data, True), mode='loss')

    exact, rough = losses('float32'), losses('bfloat16')
    for key in ('loss_rpn_cls', 'loss_rpn_bbox', 'loss_rpn_dir'):
        assert not torch.equal(rough[key][0], exact[key][0])
        torch.testing.assert_close(rough[key][0], exact[key][0], rtol=0.02, atol=0)


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


@pytest.mark.parametrize('frames', [[0, 0, 2], [1], [2, 2], [0], [], [0, 1, 2]])
def test_every_frame_has_a_result_whichever_have_rois(frames):
    head = ActivePVRCNNBBoxHead(4, 2, 1)
    head.bbox_coder = types.SimpleNamespace(decode=lambda anchors, deltas: anchors.clone(), code_size=7)
    head.class_agnostic_nms = lambda scores, **_: torch.arange(len(scores))
    rois = torch.tensor([[frame, 1, 2, 3, 4, 2, 2, 0] for frame in frames], dtype=torch.float32).view(-1, 8)
    # The proposal head gives float labels to no boxes.
    labels = [torch.full((frames.count(k),), k, dtype=torch.long if k in frames else torch.float32) for k in range(3)]
    metas = [{'box_type_3d': LiDARInstance3DBoxes}] * 3
    results = head.get_results(rois, torch.zeros(len(rois), 1), torch.zeros(len(rois), 7), labels, metas)
    assert [len(result) for result in results] == [frames.count(k) for k in range(3)]
    for k, result in enumerate(results):
        assert isinstance(result.bboxes_3d, LiDARInstance3DBoxes)
        assert result.bboxes_3d.tensor.tolist() == [[1, 2, 3, 4, 2, 2, 0]] * frames.count(k)
        assert result.labels_3d.dtype == torch.long
        assert (result.labels_3d == k).all()


def test_no_rois_at_all_are_scored(model):
    points = torch.zeros(2, 4, 3)
    outputs = model.roi_head._bbox_forward(torch.zeros(2, 4, 8), points, torch.zeros(0, 8))
    assert outputs['bbox_scores'].shape == (0, 1)
    assert outputs['bbox_reg'].shape == (0, 7)


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


def test_roi_level_extras_are_padded(model):
    wanted = Extraction.of(('roi_features', 'mc_scores'), {'mc_passes': 2})
    with extracting(model, wanted):
        model.roi_head.max_rois = 40
        samples = predict(model, batch())
    assert model.extraction == Extraction()
    for sample in samples:
        extras = sample.frame_predictions
        count = int(extras['roi_valid'].sum())
        assert extras['roi_features'].shape == (40, 64)
        assert not extras['roi_features'][count:].any()
        assert extras['mc_scores'].shape == (2, count)
        kept = sample.pred_instances_3d
        torch.testing.assert_close(kept.box_features, extras['roi_features'][kept.roi_index])


def test_only_what_is_wanted_is_computed(model):
    for sample in predict(model, batch()):
        assert sample.frame_predictions == {}
    with extracting(model, Extraction.of(('gradient',), {'gradient': 'roi_cls'})):
        assert set(predict(model, batch(1))[0].frame_predictions) == {'gradient'}


def full_gradient(model, layer, loss):
    """The gradient of a layer's weight by autograd through the head, for one frame."""
    return torch.autograd.grad(loss, layer.weight)[0].flatten()


@pytest.mark.parametrize('layer', ['shared_fc', 'roi_cls', 'rpn_conv_cls'])
def test_gradients_are_those_of_autograd_and_change_nothing(model, layer):
    """One frame at a time and in a batch; parameters, buffers, modes and random state stay as they were."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    seen = {}
    hooks = [
        model.roi_head.bbox_head.register_forward_pre_hook(lambda _, inputs: seen.setdefault('pooled', inputs[0])),
        model.rpn_head.register_forward_pre_hook(lambda _, inputs: seen.update(maps=inputs[0][0])),
    ]
    wanted = Extraction.of(('gradient',), {'gradient': layer, 'projection': None, 'mc_passes': 3})
    with extracting(model, wanted):
        samples = predict(model, batch())
        assert model.prediction_metadata(('a', 'b', 'c'))['gradient_layer'] == layer
    for hook in hooks:
        hook.remove()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    head, pooled = model.roi_head.bbox_head, seen['pooled'].detach()
    per_frame = len(pooled) // 2
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    with torch.no_grad():
        scores, residuals = monte_carlo_passes(head, pooled, 3, seed=0)
    for frame, sample in enumerate(samples):
        own = slice(frame * per_frame, (frame + 1) * per_frame)
        if layer == 'rpn_conv_cls':
            logits = model.rpn_head.conv_cls(seen['maps'][frame : frame + 1].detach())
            logits = logits.permute(0, 2, 3, 1).reshape(-1, 3)
            highest, labels = logits.detach().max(1)
            labels[highest <= 0] = 3
            loss = model.rpn_head.loss_cls(logits, labels, torch.ones(len(labels)), avg_factor=1.0)
            expected = full_gradient(model, model.rpn_head.conv_cls, loss)
        else:
            logits, found = head(pooled[own])
            if layer == 'roi_cls':
                loss = bce(logits.flatten(), (logits.flatten() > 0).float(), reduction='sum')
                expected = full_gradient(model, head.cls_layer[-2].conv, loss)
            else:
                loss = bce(logits.flatten(), scores[:, own].mean(0))
                loss = loss + torch.nn.functional.smooth_l1_loss(found, residuals[:, own].mean(0))
                expected = full_gradient(model, head.shared_fc_layer[-1].conv, loss)
        assert expected.abs().max() > 0
        torch.testing.assert_close(sample.frame_predictions['gradient'], expected, rtol=1e-3, atol=1e-6)


def test_projected_gradients_keep_inner_products():
    rng = torch.Generator().manual_seed(0)
    derivatives, inputs = torch.randn(40, 256, generator=rng), torch.randn(40, 256, generator=rng)
    frames = torch.arange(40).chunk(4)
    full = outer_product_sums(derivatives, inputs, frames)
    short = outer_product_sums(derivatives, inputs, frames, projection=64)
    assert short.shape == (4, 4096)
    lengths = full.norm(dim=1)
    error = (short @ short.T - full @ full.T) / lengths[:, None] / lengths[None]
    assert error.abs().max() < 0.3  # a few rows per frame: the spread of a length is about a tenth
    assert error.abs().mean() < 0.05
    assert torch.equal(short, outer_product_sums(derivatives, inputs, frames, projection=64))


def test_gradient_of_one_roi():
    """Spec 5.6: x = (1, 2), p = .8 and label 1 give (-.2, -.4)."""
    found = outer_product_sums(torch.tensor([[0.8 - 1]]), torch.tensor([[1.0, 2.0]]), [torch.tensor([0])])
    torch.testing.assert_close(found, torch.tensor([[-0.2, -0.4]]))


def test_unknown_extraction_is_named():
    with pytest.raises(UserError, match=r"unknown extraction option 'mc_pases'.*mc_passes"):
        Extraction.of((), {'mc_pases': 3})
    with pytest.raises(UserError, match=r"unknown gradient layer 'roi_clss'.*roi_cls"):
        Extraction.of((), {'gradient': 'roi_clss'})
    with pytest.raises(UserError, match="'gradient' was asked for without its layer"):
        Extraction.of(('gradient',), {})


def test_targets_of_rois_are_those_that_the_head_is_trained_on(model):
    """RoIs moved away from boxes: decoding their residuals gives the boxes back, scores follow the IoU."""
    boxes = torch.tensor([[5.0, 1, -1, 4, 1.8, 1.5, 0.3], [9.0, -3, -1, 0.8, 0.6, 1.7, 1.0]])
    offsets = torch.tensor([[0.1, 0.05, 0.0, 0.1, 0, 0, 0.02], [0.02, 0, 0, 0, 0, 0.05, 0], [2.5, 0, 0, 0, 0, 0, 0]])
    rois = InstanceData()
    rois.bboxes_3d = LiDARInstance3DBoxes(torch.cat((boxes, boxes[:1], boxes[:1])) + torch.cat((offsets, offsets[:1])))
    rois.labels_3d = torch.tensor([2, 0, 2, 1])  # the last one lies on a car but calls it a cyclist
    model.roi_head.max_rois = 6
    annotations = {'gt_bboxes_3d': LiDARInstance3DBoxes(boxes), 'gt_labels_3d': np.array([2, 0])}
    found = model.roi_targets(rois, annotations)
    assert found['roi_scores_target'][:2].min() > 0.9
    assert found['roi_scores_target'][2:].tolist() == [0, 0, 0, 0]
    assert not found['roi_residuals_target'][2:].any()
    decoded = model.roi_head.bbox_head._decode(rois.bboxes_3d.tensor[:2], found['roi_residuals_target'][:2])
    torch.testing.assert_close(decoded[:, :6], boxes[:, :6], rtol=1e-4, atol=1e-4)
    empty = {'gt_bboxes_3d': LiDARInstance3DBoxes(boxes[:0]), 'gt_labels_3d': np.zeros(0, dtype=np.int64)}
    assert not model.roi_targets(rois, empty)['roi_scores_target'].any()


def test_key_points_gather_from_the_levels_whose_stride_their_layers_name(config):
    """The stock class takes the first levels: layers for strides 4 and 8 would read those of strides 1 and 2."""
    torch.manual_seed(0)
    deep = config.copy()
    deep.points_encoder = dict(deep.points_encoder, voxel_sa_cfgs_list=deep.points_encoder.voxel_sa_cfgs_list[2:])
    fused = sum(2 * layer.mlp_channels[0][-1] for layer in config.points_encoder.voxel_sa_cfgs_list[:2])
    deep.roi_head = dict(deep.roi_head, semantic_head=dict(deep.roi_head.semantic_head))
    deep.roi_head['semantic_head']['in_channels'] -= fused
    model = MODELS.build(deep).eval()
    data = model.data_preprocessor(batch(), False)
    levels = model.extract_feat(data['inputs'])['multi_scale_3d_feats']
    _, every = model.middle_encoder(
        model.voxel_encoder(*(data['inputs']['voxels'][key] for key in ('voxels', 'num_points', 'coors'))),
        data['inputs']['voxels']['coors'],
        2,
    )
    assert [level.spatial_shape for level in levels] == [level.spatial_shape for level in every[2:]]
    assert [len(level.features) for level in levels] == [len(level.features) for level in every[2:]]
    assert len(predict(model, batch())) == 2
