"""Whole stages on the imagined GPU: loader, optimiser, checkpoints, validation, all hooks that touch the model."""

from pathlib import Path
from unittest import mock

import pytest
import torch
from mmdet3d.registry import DATASETS
from mmengine.registry import init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d import compat
from ssal3d.bank.box_bank import BoxBank
from ssal3d.configs import read_config
from ssal3d.data.frames import read_dataset_infos
from ssal3d.data.labelled import state_of
from ssal3d.predictions import PredictionWriter
from ssal3d.registry import STAGES
from ssal3d.semi.hssda.label_store import LabelStore
from ssal3d.stages.run import last_checkpoint, train_stage
from ssal3d.stages.supervised import StageInputs
from tests.devices import steps
from tests.devices.imagined import DEVICE, ImaginedGPU
from tests.helpers.paths import TINY

compat.apply_preferences()

STAGES_WITH_HOOKS = ('normal', 'cpsp', 'loss_net', 'threedioumatch', 'joint3d', 'nal', 'hssda')
WITHOUT_TEACHER = ('normal', 'nal')  # a teacher's choices hang on the last bits: its weights are not compared


@pytest.fixture
def run(street, tmp_path, monkeypatch):
    """Train a stage of the tiny experiment for an epoch, on the CPU or on the imagined GPU."""
    monkeypatch.setenv('SSAL3D_KITTI', str(street))
    init_default_scope('mmdet3d')

    def train(name, folder, gpu=None):
        config = read_config(TINY)
        config.train_dataloader.update(num_workers=0, persistent_workers=False)
        view = DATASETS.build(dict(type='UnlabelledView', dataset=dict(config.pool_dataset, pipeline=[])))
        state = state_of(read_dataset_infos(view.dataset), view.metainfo['classes'], 'tiny', view.frame_ids[:4])
        state.write(tmp_path / 'labels.json')
        if not (tmp_path / 'predictions').exists():
            _predicted(tmp_path / 'predictions', view)
        stage = STAGES.build({**config.stages[name], 'epochs': 1})
        inputs = StageInputs(
            tmp_path / folder,
            tmp_path / 'labels.json',
            start(config, tmp_path / 'start.pth'),
            tmp_path / 'predictions' if name == 'nal' else None,  # the others predict by themselves, if they have to
            pool_dataloader={'batch_size': 2, 'num_workers': 0},
        )
        built = stage.build_config(config, inputs)
        built.optim_wrapper.optimizer = {'type': 'SGD', 'lr': 1e-3}  # steps as large as gradients, unlike Adam's
        built.param_scheduler = []
        if gpu is None:
            train_stage(built, f'{folder}/{name}')
        else:
            with gpu, mock.patch('mmengine.runner.runner.get_device', return_value=DEVICE.type):
                train_stage(built, f'{folder}/{name}')
        return last_checkpoint(built)

    return train


def start(config, path):
    """The checkpoint that every run starts from."""
    if not path.exists():
        torch.save({'state_dict': steps.build(config.model).state_dict()}, path)
    return path


def _predicted(folder: Path, view):
    """What an earlier stage might have predicted: a confident box in every frame."""
    with PredictionWriter(folder, view.metainfo['classes'], ['num_points']) as writer:
        for frame in view.frame_ids:
            box = [[6.0, -3.0, -1, 4, 1.7, 1.5, 0.1]]
            writer.add(frame, bboxes_3d=box, scores_3d=[0.95], labels_3d=[2], num_points=[50])


@pytest.mark.filterwarnings('ignore:for .*copying from a non-meta parameter:UserWarning')
@pytest.mark.parametrize('name', STAGES_WITH_HOOKS)
def test_a_stage_runs_from_its_data_to_its_checkpoint(run, tmp_path, name):
    gpu = ImaginedGPU()
    checkpoint = torch.load(run(name, 'gpu', gpu), map_location='cpu', weights_only=True)
    assert sum(gpu.kernels.values()) > 5000  # it really ran there
    state = checkpoint['state_dict']
    assert {value.device.type for value in state.values()} == {'cpu'}  # a checkpoint loads anywhere
    assert all(bool(value.isfinite().all()) for value in state.values())
    if name == 'hssda':
        store = LabelStore(tmp_path / 'gpu' / 'labels')
        assert len(store.frame_ids) > 4
    else:
        assert BoxBank(tmp_path / 'gpu' / 'bank').generations()
    if name in WITHOUT_TEACHER:
        expected = torch.load(run(name, 'cpu'), map_location='cpu', weights_only=True)['state_dict']
        begin = torch.load(tmp_path / 'start.pth', map_location='cpu', weights_only=True)['state_dict']
        require_same_way(begin, expected, state)


def require_same_way(begin, expected, found):
    """Weights that set out together arrive together, but for a twentieth of the way.

    Gradients that nearly cancel have the rounding errors of what they cancel: a tensor that hardly moves is measured by
    the longest way, too.
    """
    assert expected.keys() == found.keys()
    pairs = [
        (name, before, expected[name], found[name])
        for key, before in begin.items()
        for name in (key, f'student.{key}', f'teacher.{key}')
        if name in expected and expected[name].is_floating_point()
    ]
    longest = max((after - before).norm() for _, before, after, _ in pairs)
    for name, before, after, other in pairs:
        moved, apart = (after - before).norm(), (other - after).norm()
        assert apart <= 0.05 * moved + 1e-5 * (before.norm() + longest), name
