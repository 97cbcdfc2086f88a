"""What every semi-supervised method promises, on a tiny detector and street."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS, HOOKS, init_default_scope
from mmengine.structures import InstanceData

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.data.frames import read_dataset_infos
from ssal3d.data.infos import read_infos, write_infos
from ssal3d.data.label_state import LabelState
from ssal3d.data.labelled import state_of
from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.predictions import PredictionWriter
from ssal3d.registry import STAGES
from ssal3d.semi.detector import SemiDetector3D, student_state
from ssal3d.stages.run import last_checkpoint, train_stage
from ssal3d.stages.supervised import StageInputs
from tests.helpers.experiments import train, variant
from tests.helpers.paths import TINY

METHODS = ('threedioumatch', 'joint3d', 'nal', 'hssda')
every_method = pytest.mark.parametrize('name', METHODS)


@pytest.fixture
def make(street, tmp_path, monkeypatch):
    """Build the run config of a method's stage with four labelled frames."""
    monkeypatch.setenv('SSAL3D_KITTI', str(street))
    init_default_scope('mmdet3d')

    def build(name, folder=None, **changes):
        config = read_config(TINY)
        view = DATASETS.build(dict(type='UnlabelledView', dataset=dict(config.pool_dataset, pipeline=[])))
        bought = view.frame_ids[:4]
        infos = read_dataset_infos(view.dataset)
        state_of(infos, view.metainfo['classes'], 'tiny', bought).write(tmp_path / 'labels.json')
        stage = STAGES.build({**config.stages[name], **changes})
        predicted = tmp_path / 'predictions'
        if not predicted.exists():
            confident_boxes(predicted, view)
        inputs = StageInputs(tmp_path / (folder or name), tmp_path / 'labels.json', None, predicted)
        return stage.build_config(config, inputs)

    return build


def confident_boxes(folder, view):
    """What an earlier stage might have predicted: two boxes per frame, one of them confident."""
    with PredictionWriter(folder, view.metainfo['classes'], ['num_points']) as writer:
        for number, frame in enumerate(view.frame_ids):
            boxes = [[6.0, -3.0, -1, 4, 1.7, 1.5, 0.1], [9.0, 3.0, -1, 0.8, 0.6, 1.7, 0]]
            writer.add(frame, bboxes_3d=boxes, scores_3d=[0.95, 0.05], labels_3d=[2, number % 2], num_points=[50, 50])


def model_of(config):
    """A student and a teacher with random weights that differ, and thresholds that some boxes pass."""
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return model


def batch_of(config, epoch=0):
    """The first and the last training sample, without pasting (there is no bank yet)."""
    settings = copy.deepcopy(config.train_dataloader.dataset)
    inner = settings.labelled.dataset
    inner.pipeline = [step for step in inner.pipeline if step['type'] != 'PasteObjects']
    if 'paste' in settings:
        settings.paste = None
    dataset = DATASETS.build(settings)
    dataset.set_epoch(epoch)
    collate = FUNCTIONS.get(config.train_dataloader.get('collate_fn', {'type': 'pseudo_collate'})['type'])
    return collate([dataset[index] for index in (0, len(dataset) - 1)])


def losses_of(model, batch):
    torch.manual_seed(3)
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    return model(**data, mode='loss')


@every_method
def test_losses_are_finite_and_reach_the_student_only(name, make):
    config = make(name)
    model = model_of(config).train()
    batch = batch_of(config)
    losses = losses_of(model, batch)
    assert all(torch.isfinite(value).all() for value in losses.values())
    total, _ = model.parse_losses(losses)
    total.backward()
    assert any(parameter.grad is not None for parameter in model.student.parameters())
    if model.teacher is not None:
        assert all(parameter.grad is None for parameter in model.teacher.parameters())
        assert not any(module.training for module in model.teacher.modules())
    assert all(module.training for module in model.student.modules())


@every_method
def test_ground_truth_of_unlabelled_frames_changes_nothing(name, make, street):
    config = make(name)
    model = model_of(config)
    before = losses_of(model, batch_of(config))
    labelled = set(LabelState.read(config.train_dataloader.dataset.labelled.labels).frame_ids)
    path = street / 'kitti_infos_train.pkl'
    original = path.read_bytes()
    infos = read_infos(path)
    for info in infos['data_list']:
        if Path(info['lidar_points']['lidar_path']).stem not in labelled:
            for instance in info['instances']:
                instance['bbox_3d'] = [value * 1.7 + 1 for value in instance['bbox_3d']]
                instance['bbox_label_3d'] = (instance['bbox_label_3d'] + 1) % 3
    try:
        write_infos(path, infos)
        after = losses_of(model_of(config), batch_of(config))
    finally:
        path.write_bytes(original)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@every_method
def test_a_plain_detector_fills_student_and_teacher(name, make):
    config = make(name)
    model = model_of(config)
    plain = MODELS.build(config.model.detector)
    plain.init_weights()
    model.load_state_dict(plain.state_dict(), strict=True)
    for part in (model.student, model.teacher) if model.has_teacher else (model.student,):
        assert all(torch.equal(value, part.state_dict()[key]) for key, value in plain.state_dict().items())
    assert isinstance(model, SemiDetector3D)
    plain.load_state_dict(student_state(model.state_dict()), strict=True)
    assert all(torch.equal(value, model.student.state_dict()[key]) for key, value in plain.state_dict().items())
    again = model_of(config)
    again.load_state_dict(model.state_dict(), strict=True)


@every_method
def test_no_unlabelled_frames_reduce_it_to_supervised_training(name, make):
    config = make(name)
    model = model_of(config)
    batch = batch_of(config)
    only = losses_of(model, {'labelled': batch['labelled']})
    assert all(not key.startswith('unlabelled') for key in only)
    data = model.data_preprocessor(copy.deepcopy(batch['labelled']), True)
    torch.manual_seed(3)
    supervised = model.student(**data, mode='loss')
    assert {key for key in only if 'loss' in key} == {key for key in supervised if 'loss' in key}


@pytest.mark.parametrize('name', ['threedioumatch', 'joint3d'])
def test_precision_of_pseudo_labels_of_labelled_frames(name, make, monkeypatch):
    """Scripted teacher: one car where it is, one beside the street, and a pedestrian that nobody takes."""
    model = model_of(make(name))
    batch = batch_of(make(name))
    data = model.data_preprocessor(copy.deepcopy({'labelled': batch['labelled']}), True)
    points, samples = data['inputs']['labelled'], data['data_samples']['labelled']
    index = model.classes.index('Car')
    true = samples[0].gt_instances_3d.bboxes_3d.tensor[:1]
    samples[0].gt_instances_3d.labels_3d[:1] = index
    beside = true + torch.tensor([30.0, 0, 0, 0, 0, 0, 0])
    found = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(torch.cat((true, beside, true))),
        scores_3d=torch.tensor([0.95, 0.95, 0.01]),
        rpn_scores_3d=torch.tensor([0.9, 0.9, 0.9]),
        labels_3d=torch.tensor([index, index, 0]),
    )
    monkeypatch.setattr(model, 'teacher_predictions', lambda *_, **__: [found])
    assert model.labelled_precision(points[:1], samples[:1]) == {'pseudo/Car/precision_on_labelled': 0.5}


@every_method
def test_same_sample_in_any_process(name, make):
    config = make(name)
    first, again = batch_of(config), batch_of(config)
    for branch in first:
        for one, two in zip(first[branch]['inputs']['points'], again[branch]['inputs']['points']):
            assert torch.equal(one, two)
    other = batch_of(config, epoch=1)
    clouds = [(first[branch]['inputs']['points'][0], other[branch]['inputs']['points'][0]) for branch in first]
    assert any(not torch.equal(*pair) for pair in clouds)


def final_teacher(make, tmp_path):
    """A finished run of 3DIoUMatch whose teacher takes every box."""
    every = dict(t_iou=dict(Car=0.0, Pedestrian=0.0, Cyclist=0.0), t_sem=0.0)
    config = make('threedioumatch', method=dict(type='IoUMatch3D', **every))
    model = MODELS.build(config.model)
    model.init_weights()
    Path(config.work_dir).mkdir()
    torch.save({'state_dict': model.state_dict()}, last_checkpoint(config))
    stage = STAGES.build({**read_config(TINY).stages['threedioumatch']})
    return config, stage, StageInputs(Path(config.work_dir), tmp_path / 'labels.json')


def test_what_the_final_teacher_takes_does_not_depend_on_what_ran_before(make, tmp_path):
    """3DIoUMatch's teacher predicts in train mode, with dropout."""
    config, stage, inputs = final_teacher(make, tmp_path)
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(stage.pseudo_labels(config, inputs))
    assert results[0].keys() == results[1].keys()
    assert sum(len(boxes) for boxes, _ in results[0].values()) > 0
    for frame, (boxes, labels) in results[0].items():
        assert np.array_equal(boxes, results[1][frame][0])
        assert np.array_equal(labels, results[1][frame][1])


def test_processes_share_the_frames_of_which_the_final_teacher_takes_boxes(make, tmp_path, monkeypatch):
    config, stage, inputs = final_teacher(make, tmp_path)
    whole = stage.pseudo_labels(config, inputs)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr('ssal3d.semi.stage.get_dist_info', lambda rank=rank: (rank, 2))
        monkeypatch.setattr('ssal3d.semi.stage.to_rank_0', lambda own: shares.append(own) or [])
        assert stage.pseudo_labels(config, inputs) == {}
    assert abs(len(shares[0]) - len(shares[1])) <= 1
    monkeypatch.setattr('ssal3d.semi.stage.to_rank_0', lambda own: shares)
    together = stage.pseudo_labels(config, inputs)
    assert together.keys() == whole.keys() == {*shares[0], *shares[1]}
    for frame, (boxes, labels) in whole.items():
        assert np.array_equal(boxes, together[frame][0])
        assert np.array_equal(labels, together[frame][1])


@pytest.mark.parametrize('option', ['tau', 'min_points'])
def test_the_rule_of_nal_is_the_stages(option):
    with pytest.raises(UserError, match=f'found {option} among'):
        STAGES.build(dict(type='AutoLabelStage', epochs=1, method={'type': 'NAL3D', option: 1}))


@pytest.mark.slow
def test_as_pretraining_and_as_final_model_in_two_processes(street, tmp_path):
    config = variant(
        tmp_path / 'semi.py',
        "train_cfg = dict(rounds=[dict(pretrain=['normal', 'threedioumatch', 'joint3d'])])",
        "train_cfg['final'] = ['supervised', 'nal', 'hssda']",
    )
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', '2', '--master_port', '29713']
    result = train(street, tmp_path / 'run', '--launcher', 'pytorch', config=config, launcher=launcher)
    assert result.returncode == 0, result.stderr[-3000:]
    journal = read_json(tmp_path / 'run' / 'journal.json')
    assert [step['step'] for step in journal['steps']] == [
        'initial',
        'round_1/normal',
        'round_1/predictions_normal',  # for the report on the held-out frames
        'round_1/threedioumatch',
        'round_1/joint3d',
        'round_1/predictions_joint3d',
        'round_1/query',
        'final/supervised',
        'final/predictions_supervised',  # NAL's labels
        'final/nal',
        'final/hssda',
        'final/predictions_hssda',
    ]
    assert journal['steps'][3]['files'].keys() == {'round_1/threedioumatch/detector.pth'}
    state = torch.load(tmp_path / 'run/final/nal/detector.pth', weights_only=True)['state_dict']
    whole = torch.load(tmp_path / 'run/final/nal/epoch_2.pth', weights_only=False)['state_dict']
    assert all(torch.equal(value, whole[f'student.{name}']) for name, value in state.items())
    assert len(read_json(tmp_path / 'run/metrics.json')['held_out']) == 2


@HOOKS.register_module(force=True)
class InterruptAt(Hook):
    """Ends a run before an iteration, as Ctrl-C would."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize('name', ['threedioumatch', 'joint3d', 'nal'])  # HSSDA: tests/semi/hssda/test_mining.py
def test_an_interrupted_run_ends_with_the_same_weights(name, make):
    states = []
    for folder, stop in (('whole', None), ('broken', 3)):  # in the second of two epochs of two iterations
        if stop is not None:
            broken = make(name, folder)
            broken.custom_hooks.append(dict(type='InterruptAt', iteration=stop))
            with pytest.raises(KeyboardInterrupt):
                train_stage(broken, f'{name}-interrupted')
        config = make(name, folder)
        train_stage(config, f'{name}-{folder}')
        states.append(torch.load(last_checkpoint(config), weights_only=False)['state_dict'])
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    if name != 'nal':  # the teacher moved, but is not the student
        changed = [key for key in states[0] if key.startswith('teacher.') and key.endswith('conv.weight')]
        assert any(not torch.equal(states[0][key], states[0][key.replace('teacher', 'student')]) for key in changed)
