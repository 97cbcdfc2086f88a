"""How good a method's labels are on labelled frames: told in the log, and nothing else in a run depends on it."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.data.frames import read_dataset_infos
from ssal3d.data.labelled import state_of
from ssal3d.predictions import PredictionWriter
from ssal3d.registry import STAGES
from ssal3d.stages.supervised import StageInputs
from tests.helpers.paths import TINY

# Options with which most of what random weights predict is a label.
READY = {
    'threedioumatch': dict(t_iou=0.05, t_sem=0.0),
    'joint3d': dict(t_score=0.05),
    'nal': dict(tau=0.05, min_points=0),
}
CAR = 2


@pytest.fixture
def make(street, tmp_path, monkeypatch):
    """Build a method and a batch of two labelled and two unlabelled frames."""
    monkeypatch.setenv('SSAL3D_KITTI', str(street))
    init_default_scope('mmdet3d')

    def build(name, **method):
        config = read_config(TINY)
        view = DATASETS.build(dict(type='UnlabelledView', dataset=dict(config.pool_dataset, pipeline=[])))
        infos = read_dataset_infos(view.dataset)
        state_of(infos, view.metainfo['classes'], 'tiny', view.frame_ids[:4]).write(tmp_path / 'labels.json')
        predicted = tmp_path / 'predictions'
        if not predicted.exists():
            with PredictionWriter(predicted, view.metainfo['classes'], ['num_points']) as writer:
                for frame in view.frame_ids:
                    box = [6.0, -3.0, -1, 4, 1.7, 1.5, 0.1]
                    writer.add(frame, bboxes_3d=[box], scores_3d=[0.95], labels_3d=[CAR], num_points=[50])
        stage = STAGES.build(config.stages[name])
        config = stage.build_config(config, StageInputs(tmp_path / 'run', tmp_path / 'labels.json', None, predicted))
        config.model.update(method)
        torch.manual_seed(0)
        model = MODELS.build(config.model)
        model.init_weights()
        settings = copy.deepcopy(config.train_dataloader.dataset)
        inner = settings.labelled.dataset
        inner.pipeline = [step for step in inner.pipeline if step['type'] != 'PasteObjects']  # there is no bank
        dataset = DATASETS.build(settings)
        dataset.set_epoch(0)
        return model.train(), pseudo_collate([dataset[index] for index in (0, len(dataset) - 1)])

    return build


def two_steps(model, batch):
    """Train; return all losses, random numbers and modes on the way, and the weights at the end."""
    optimizer = torch.optim.SGD(model.student.parameters(), lr=0.001)
    torch.manual_seed(3)
    trace, modes = [], [(name, part.training) for name, part in model.named_modules()]
    told = set()
    for _ in range(2):
        data = model.data_preprocessor(copy.deepcopy(batch), True)
        losses = model(**data, mode='loss')
        told |= {name for name in losses if name.endswith('precision_on_labelled')}
        total, _ = model.parse_losses({name: value for name, value in losses.items() if name not in told})
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        trace += [value.detach() for name, value in sorted(losses.items()) if name not in told]
        trace.append(torch.get_rng_state())
        assert [(name, part.training) for name, part in model.named_modules()] == modes
    return [*trace, *(value.clone() for value in (*model.parameters(), *model.buffers()))], told


@pytest.mark.parametrize('name', list(READY))
def test_it_changes_nothing(name, make):
    (often, told), (never, silent) = (
        two_steps(*make(name, precision_interval=interval, **READY[name])) for interval in (1, 10**9)
    )
    assert told
    assert not silent
    assert len(often) == len(never)
    assert all(torch.equal(one, other) for one, other in zip(often, never))


def test_the_rule_of_automatic_labels(make):
    """One car where it is, one beside the street, one with a low score, one in the air; nothing without a rule."""
    model, batch = make('nal', tau=0.9, min_points=5)
    data = model.data_preprocessor(copy.deepcopy({'labelled': batch['labelled']}), True)
    points, samples = data['inputs']['labelled'][:1], data['data_samples']['labelled'][:1]
    truth = samples[0].gt_instances_3d
    true = truth.bboxes_3d.tensor[:1]
    truth.labels_3d[:1] = CAR
    points[0] = torch.cat((points[0], true.new_tensor([[*(true[0, :2]), true[0, 2] + 0.5, 0]]).repeat(5, 1)))
    beside, above = true.clone(), true.clone()
    beside[0, 0] += 100
    above[0, 2] += 100
    points[0] = torch.cat((points[0], beside.new_tensor([[*(beside[0, :2]), beside[0, 2] + 0.5, 0]]).repeat(5, 1)))
    found = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(torch.cat((true, beside, true, above))),
        scores_3d=torch.tensor([0.95, 0.95, 0.89, 0.95]),
        labels_3d=torch.full((4,), CAR),
    )
    model.predicted_samples = lambda *_, **__: [SimpleNamespace(pred_instances_3d=found)]
    assert model.labelled_precision(points, samples) == {'pseudo/Car/precision_on_labelled': 0.5}
    model.tau = None
    assert model.labelled_precision(points, samples) == {}
