"""The loss net: what it computes, that it learns, and that the detector does not."""

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.models.extraction import Extraction, extracting
from ssal3d.models.loss_prediction import LossNet, inputs_of_frame, ranking_loss
from ssal3d.predictions import read_predictions
from ssal3d.predictions.pool_inference import predict_pool
from ssal3d.stages.loss_net import LossNetStage
from ssal3d.stages.supervised import StageInputs
from tests.helpers.paths import TINY

ADAM = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-2))


@pytest.fixture(scope='module')
def experiment():
    init_default_scope('mmdet3d')
    return read_config(TINY)


def build(config, kind='LossPredictingPVRCNN'):
    torch.manual_seed(0)
    model = MODELS.build(dict(config.model, type=kind))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and len(module.running_mean) > 1:
            module.running_mean.normal_(0, 0.1)  # a trained detector's are not 0 and 1
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.fixture
def model(experiment):
    return build(experiment)


def batch(frames=4, points=500, objects=(2, 0, 1, 3)):
    """Random points; frame k has ``objects[k]`` boxes."""
    rng = np.random.default_rng(1)
    clouds, samples = [], []
    for count in objects[:frames]:
        cloud = rng.uniform((0, -6, -2, 0), (12.8, 6, 0, 1), (points, 4))
        clouds.append(torch.tensor(cloud, dtype=torch.float32))
        boxes = rng.uniform((2, -5, -1.8, 0.6, 0.6, 1.4, -3), (11, 5, -1.5, 4, 2, 1.8, 3), (count, 7))
        sample = Det3DDataSample(metainfo={'box_type_3d': LiDARInstance3DBoxes})
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 7)),
            labels_3d=torch.tensor(rng.integers(0, 3, count), dtype=torch.long),
        )
        samples.append(sample)
    return {'inputs': {'points': clouds}, 'data_samples': samples}


def test_ranking_loss_of_the_worked_example():
    predicted, actual = torch.tensor([0.5, 0.2, 0.9, 0.1]), torch.tensor([3.0, 1, 2, 0])
    assert float(ranking_loss(predicted, actual)) == pytest.approx(0.45)
    swapped = [3, 1, 2, 0]  # the members of the first pair change places
    assert float(ranking_loss(predicted[swapped], actual[swapped])) == pytest.approx(0.45)
    assert float(ranking_loss(predicted, actual, margin=0.5)) == pytest.approx((0.1 + 0) / 2)
    for frames in (0, 3):
        with pytest.raises(ValueError, match=f'found {frames} frames.*even'):
            ranking_loss(predicted[:frames], actual[:frames])


def test_ranking_loss_agrees_with_torch():
    generator = torch.Generator().manual_seed(0)
    predicted, actual = torch.randn(2, 16, generator=generator)
    first, second = slice(0, 8), slice(15, 7, -1)
    order = np.sign(actual.numpy()[first] - actual.numpy()[second])
    expected = torch.nn.functional.margin_ranking_loss(
        predicted[first], predicted.flip(0)[first], torch.from_numpy(order), margin=1.0
    )
    torch.testing.assert_close(ranking_loss(predicted, actual), expected)


def test_loss_net_is_convolution_norm_relu_and_one_linear_layer():
    torch.manual_seed(3)
    net = LossNet([5, 4], rois=6).eval()
    for norm in net.norm:
        norm.running_mean.fill_(0.1)
        norm.running_var.fill_(2.0)
    levels = [torch.randn(3, 6, 5), torch.randn(3, 6, 4)]
    with torch.no_grad():
        found = net(levels, torch.ones(3, 6, dtype=torch.bool))
        rows = [
            torch.relu(norm(conv(level.transpose(1, 2)))).squeeze(1)
            for level, conv, norm in zip(levels, net.reduce, net.norm)
        ]
    assert all(conv.bias is None for conv in net.reduce)
    torch.testing.assert_close(found, net.weigh(torch.cat(rows, 1)).detach().squeeze(1))


@pytest.mark.parametrize('training', [False, True])
def test_padding_changes_nothing(training):
    """What padded positions hold neither reaches the prediction nor the statistics of the batch norm."""
    torch.manual_seed(3)
    nets = [LossNet([5], rois=6), LossNet([5], rois=6)]
    nets[1].load_state_dict(nets[0].state_dict())
    valid = torch.arange(6) < torch.tensor([[6], [2], [0]])
    level = torch.randn(3, 6, 5)
    other = torch.where(valid[..., None], level, torch.full_like(level, 9.0))
    found = [net.train(training)([values], valid) for net, values in zip(nets, (level, other))]
    assert torch.equal(*found)
    assert found[0][2] == nets[0].weigh.bias
    assert torch.equal(nets[0].norm[0].running_mean, nets[1].norm[0].running_mean)
    if training:
        values = nets[0].reduce[0](level.transpose(1, 2)).squeeze(1)[valid]
        torch.testing.assert_close(nets[0].norm[0].running_mean, 0.1 * values.mean()[None])


@pytest.mark.parametrize('rois', [0, 1])
def test_a_batch_with_hardly_any_roi(rois):
    net = LossNet([5], rois=6).train()
    valid = torch.zeros(2, 6, dtype=torch.bool)
    valid[0, :rois] = True
    predicted = net([torch.randn(2, 6, 5)], valid)
    predicted.sum().backward()
    assert torch.isfinite(predicted).all()


def test_only_the_loss_net_learns(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build_optim_wrapper(model, Config(dict(optim_wrapper=ADAM)).optim_wrapper)
    data, truth = batch(), [sample.gt_instances_3d.bboxes_3d.tensor.clone() for sample in batch()['data_samples']]
    model.train()
    logs = [model.train_step(data, optimizer) for _ in range(4)]
    assert {'loss', 'loss_ranking', 'ranking_accuracy'} <= set(logs[0])
    assert all(torch.isfinite(log['loss']) and log['loss'] == log['loss_ranking'] for log in logs)
    assert logs[-1]['loss'] < logs[0]['loss']
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith('loss_net.') for name in changed)
    learns = {name for name, _ in model.loss_net.named_parameters(prefix='loss_net')}
    assert learns - changed == {'loss_net.weigh.bias'}  # adds the same to all frames, no order depends on it
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith('loss_net.'))
    learnt = {id(p) for p in optimizer.optimizer.state}
    assert learnt == {id(p) for p in model.loss_net.parameters()}
    for sample, boxes in zip(data['data_samples'], truth):  # the stock RoI head would have replaced them by tensors
        assert torch.equal(sample.gt_instances_3d.bboxes_3d.tensor, boxes)
        assert 'pred_instances_3d' not in sample


def test_modes(model):
    model.train()
    assert model.training
    training = {name for name, module in model.named_modules() if module.training}
    assert all(name == '' or name.startswith('loss_net') for name in training)
    model.eval()
    assert not any(module.training for module in model.modules())


def test_losses_are_those_of_frames_alone(model):
    """Against the parent's loss on batches of one that the preprocessor made, with the same random RoI samples."""
    whole = model.data_preprocessor(batch(2), True)
    with torch.no_grad():
        torch.manual_seed(0)
        losses = model.frame_losses(whole['inputs'], whole['data_samples'])
        torch.manual_seed(0)
        for frame in range(2):
            points, samples = batch()['inputs']['points'][frame], batch()['data_samples'][frame]
            alone = model.data_preprocessor({'inputs': {'points': [points]}, 'data_samples': [samples]}, True)
            part = inputs_of_frame(whole['inputs'], frame)
            assert set(part['voxels']) == set(alone['inputs']['voxels'])
            for name, values in alone['inputs']['voxels'].items():
                assert torch.equal(part['voxels'][name], values)
            terms = super(type(model), model).loss(alone['inputs'], alone['data_samples'])
            total = sum(
                torch.stack(term).sum() if isinstance(term, list) else term
                for name, term in terms.items()
                if 'loss' in name
            )
            torch.testing.assert_close(losses[frame], total)
    assert {'loss_rpn_cls', 'loss_semantic', 'loss_cls', 'loss_corner'} <= set(terms)


def test_odd_batches_are_refused(model):
    data = model.data_preprocessor(batch(3), True)
    with pytest.raises(ValueError, match='found 3 frames'):
        model.loss(data['inputs'], data['data_samples'])


def test_a_detectors_checkpoint_fits_and_its_predictions_stay(experiment, model):
    detector = build(experiment, 'ActivePointVoxelRCNN')
    torch.nn.init.normal_(detector.roi_head.bbox_head.cls_layer[-1].weight)
    keys = model.load_state_dict(detector.state_dict(), strict=False)
    assert not keys.unexpected_keys
    assert {name.split('.')[0] for name in keys.missing_keys} == {'loss_net'}
    with torch.no_grad():
        ours, theirs, alone = model.test_step(batch()), detector.test_step(batch()), model.test_step(batch(1))
    for own, other in zip(ours, theirs):
        assert torch.equal(own.pred_instances_3d.scores_3d, other.pred_instances_3d.scores_3d)
    predicted = torch.stack([sample.frame_predictions['predicted_loss'] for sample in ours])
    assert predicted.shape == (4,)
    assert len(set(predicted.tolist())) == 4
    torch.testing.assert_close(alone[0].frame_predictions['predicted_loss'], predicted[0], rtol=1e-4, atol=1e-5)


def test_predicted_loss_is_that_of_the_shared_features(model):
    """The second level is what the contract calls roi_features; RoIs that other columns need do not disturb."""
    levels = {}
    first = model.roi_head.bbox_head.shared_fc_layer[0]
    hook = first.register_forward_hook(lambda _, __, output: levels.update(first=output.clone()))
    with extracting(model, Extraction.of(('roi_features', 'mc_scores'), {'mc_passes': 2})), torch.no_grad():
        samples = model.test_step(batch())
    hook.remove()
    extras = [sample.frame_predictions for sample in samples]
    valid = torch.stack([values['roi_valid'] for values in extras])
    rows = torch.zeros(*valid.shape, first.out_channels)
    rows[valid] = levels['first'].flatten(1)
    with torch.no_grad():
        expected = model.loss_net([rows, torch.stack([values['roi_features'] for values in extras])], valid)
    torch.testing.assert_close(torch.stack([values['predicted_loss'] for values in extras]), expected)


class View:
    """The least that `predict_pool` needs."""

    frame_ids = ('a', 'b', 'c')
    metainfo = {'classes': ('Pedestrian', 'Cyclist', 'Car')}  # noqa: RUF012

    def __len__(self):
        return 3

    def __getitem__(self, position):
        data = batch()
        return {
            'inputs': {'points': data['inputs']['points'][position]},
            'data_samples': data['data_samples'][position],
        }


def test_the_column_is_written(model, tmp_path):
    predict_pool(model, View(), tmp_path, fields=('predicted_loss',), num_workers=0, batch_size=2)
    with torch.no_grad():
        expected = [sample.frame_predictions['predicted_loss'].item() for sample in model.test_step(batch(3))]
    found = read_predictions(tmp_path, ('predicted_loss',))['predicted_loss']
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def inputs_of(tmp_path, frames=None):
    if frames is not None:
        state = LabelState.empty(['Car'], 'pool', [str(k) for k in range(9)])
        state.buy(0, [(str(k), {'Car': 1}) for k in range(frames)]).write(tmp_path / 'labels.json')
    return StageInputs(tmp_path / 'loss_net', tmp_path / 'labels.json', tmp_path / 'epoch_2.pth')


def test_stage_makes_a_run_that_trains_the_loss_net_alone(experiment, tmp_path):
    stage = LossNetStage(epochs=3, lr=0.5, options={'model.loss_net.margin': 2.0, 'optim_wrapper.optimizer.lr': 0.25})
    run = stage.build_config(experiment, inputs_of(tmp_path))
    assert run.optim_wrapper.to_dict() == {'type': 'OptimWrapper', 'optimizer': {'type': 'Adam', 'lr': 0.25}}
    assert run.param_scheduler == []
    assert run.train_cfg.to_dict() == {'type': 'EpochBasedTrainLoop', 'max_epochs': 3}
    assert not {'val_cfg', 'val_dataloader', 'val_evaluator'} & set(run)
    assert run.load_from == str(tmp_path / 'epoch_2.pth')
    assert (run.train_dataloader.batch_size, run.train_dataloader.drop_last) == (2, True)
    assert MODELS.build(run.model).loss_net.margin == 2.0
    assert experiment.model.type == 'ActivePointVoxelRCNN'
    assert 'lr' in experiment.optim_wrapper.optimizer


@pytest.mark.parametrize(('given', 'frames', 'batch_size', 'repeat'), [(1, 5, 2, 3), (3, 3, 4, 3), (8, 1, 8, 8)])
def test_stage_batches_are_even_and_can_be_filled(experiment, tmp_path, given, frames, batch_size, repeat):
    experiment = Config(experiment.to_dict())
    experiment.train_dataloader.batch_size = given
    run = LossNetStage(repeat=3).build_config(experiment, inputs_of(tmp_path, frames))
    assert run.train_dataloader.batch_size == batch_size
    assert run.train_dataloader.dataset.repeat == repeat


def test_mistakes_are_named(experiment, tmp_path):
    with pytest.raises(UserError, match='batch_size of LossNetStage: found 3, expected an even number'):
        LossNetStage(batch_size=3)
    nothing = StageInputs(tmp_path / 'loss_net', tmp_path / 'labels.json')
    with pytest.raises(UserError, match='needs a trained detector'):
        LossNetStage().build_config(experiment, nothing)
    with pytest.raises(UserError, match='no labelled frame'):
        LossNetStage().build_config(experiment, inputs_of(tmp_path, 0))
    with pytest.raises(UserError, match='margin of loss_net: found 0'):
        LossNet([4], 2, margin=0)
