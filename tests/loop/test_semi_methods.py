"""What every semi-supervised method promises (spec/semi_supervised.md 10), on a tiny detector and street."""

import copy
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.data.infos import read_infos, write_infos
from ssal3d.data.label_state import LabelState
from ssal3d.loop.stages import StageInputs
from ssal3d.predictions import PredictionWriter
from ssal3d.registry import STAGES
from ssal3d.semi.detector import SemiDetector3D, student_state

METHODS = ('threedioumatch', 'joint3d', 'nal')
every_method = pytest.mark.parametrize('name', METHODS)


@pytest.fixture
def make(street, tmp_path, monkeypatch):
    """Build the run config of a method's stage with four labelled frames."""
    monkeypatch.setenv('SSAL3D_KITTI', str(street))
    init_default_scope('mmdet3d')

    def build(name, **changes):
        config = Config.fromfile(Path(__file__).parent / 'tiny.py')
        view = DATASETS.build(dict(type='UnlabelledView', dataset=dict(config.pool_dataset, pipeline=[])))
        labels = LabelState.empty(view.metainfo['classes'], 'tiny', view.frame_ids)
        bought = view.frame_ids[:4]
        labels.buy(0, [(frame, {}) for frame in bought]).write(tmp_path / 'labels.json')
        stage = STAGES.build({**config.stages[name], **changes})
        predicted = confident_boxes(tmp_path / 'predictions', view, config)
        return stage.build_config(config, StageInputs(tmp_path / name, tmp_path / 'labels.json', None, predicted))

    return build


def confident_boxes(folder, view, config):
    """What an earlier stage might have predicted: two boxes per frame, one of them confident."""
    with PredictionWriter(folder, view.metainfo['classes'], ['num_points']) as writer:
        for number, frame in enumerate(view.frame_ids):
            boxes = [[6.0, -3.0, -1, 4, 1.7, 1.5, 0.1], [9.0, 3.0, -1, 0.8, 0.6, 1.7, 0]]
            writer.add(frame, bboxes_3d=boxes, scores_3d=[0.95, 0.05], labels_3d=[2, number % 2], num_points=[50, 50])
    return folder


def model_of(config):
    """A student and a teacher with random weights that differ, and thresholds that some boxes pass."""
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    return model


def batch_of(config, samples=2, epoch=0):
    """The first training samples, without pasting (there is no bank yet)."""
    settings = copy.deepcopy(config.train_dataloader.dataset)
    inner = settings.labelled.dataset
    inner.pipeline = [step for step in inner.pipeline if step['type'] != 'PasteObjects']
    dataset = DATASETS.build(settings)
    dataset.set_epoch(epoch)
    return pseudo_collate([dataset[index] for index in range(samples)])


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


@every_method
def test_same_sample_in_any_process(name, make):
    config = make(name)
    first, again = batch_of(config), batch_of(config)
    for branch in first:
        for one, two in zip(first[branch]['inputs']['points'], again[branch]['inputs']['points']):
            assert torch.equal(one, two)
    other = batch_of(config, epoch=1)
    assert not torch.equal(first['student']['inputs']['points'][0], other['student']['inputs']['points'][0])
