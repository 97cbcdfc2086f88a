import argparse
import importlib
import inspect
import json
import platform
import subprocess
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from spconv.cppconstants import CPU_ONLY_BUILD

from ssal3d import compat, launch, mmcv_stand_in, register
from ssal3d.compat import allocator, mmdet3d_fixes
from ssal3d.compat.environment_fixes import get_installed_path, is_installed
from ssal3d.compat.fix import Fix, replace_everywhere
from ssal3d.compat.mmcv_fixes import by_device
from ssal3d.compat.mmdet3d_fixes import with_point_in_range
from ssal3d.compat.mmengine_training_fixes import mend_cyclic_momentum
from ssal3d.errors import UserError
from tests.helpers.paths import ROOT, TINY

PROBES = Path(__file__).with_name('probes.py')
ALL = (*compat.FIXES, *compat.PREFERENCES)
NAMES = [fix.name for fix in ALL]
OWN_ALLOCATOR = allocator.PREFERENCES[0].is_needed()  # whatever was applied: it looks at the environment alone
ALLOCATOR_CHOSEN = 'no glibc, or another allocator or options of one were chosen for this process'

compat.apply_all()


@pytest.fixture(scope='module')
def answers():
    """What the probes say: without fixes, with fixes put in place afterwards, and with fixes from the start."""
    command = [sys.executable, '-W', 'ignore', '-m', 'tests.compat.probes']
    options = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True, 'cwd': ROOT}
    runs = [subprocess.Popen([*command, *more], **options) for more in ((), ('--fixed',))]
    report = {}
    for run in runs:
        output, errors = run.communicate(timeout=600)
        assert run.returncode == 0, errors
        report |= json.loads(output.splitlines()[-1])
    return report


def test_every_fix_is_a_complete_record_of_its_own():
    assert len(set(NAMES)) == len(NAMES)
    for fix in ALL:
        assert fix.problem.endswith('.')
        assert fix.link.startswith('https://')


@pytest.mark.parametrize('name', NAMES)
def test_upstream_still_has_the_defect(answers, name):
    if name in ('spconv-stream', 'spconv-races') and not CPU_ONLY_BUILD:
        pytest.skip('only builds of spconv without CUDA have it')
    if name == 'numpy-long' and np.__version__ >= '2':
        pytest.skip('NumPy 2 has np.long again; the oldest NumPy that we support has not')
    if name == 'fast-cpu-boxes-and-voxels' and mmcv_stand_in.is_used():
        pytest.skip('mmcv-lite has no slow kernels')
    if name == 'kept-memory' and not OWN_ALLOCATOR:
        pytest.skip(ALLOCATOR_CHOSEN)
    assert answers['unfixed'][name] is True, f'{name}: upstream is mended, remove it ({answers["unfixed"][name]})'


@pytest.mark.parametrize('name', NAMES)
def test_the_fix_mends_it_whoever_is_imported_first(answers, name):
    if name == 'kept-memory' and not OWN_ALLOCATOR:
        pytest.skip(ALLOCATOR_CHOSEN)
    assert answers['fixed'][name] is False, answers['fixed'][name]
    assert answers['fixed after import'][name] is False, answers['fixed after import'][name]


def test_applying_again_changes_nothing():
    from mmcv import ops
    from mmengine.runner import Runner

    before = ops.nms_rotated, Runner._build_param_scheduler, torch.nn.Conv2d.forward
    compat.apply_all()
    assert (ops.nms_rotated, Runner._build_param_scheduler, torch.nn.Conv2d.forward) == before
    states = compat.states()
    assert list(states) == NAMES
    assert {states[fix.name] for fix in compat.FIXES} <= {'applied', 'not needed'}


def test_only_commands_ask_for_what_we_merely_prefer(monkeypatch):
    applied = []
    ours = Fix('preferred', 'It is slow.', 'https://', (), lambda: True, lambda: applied.append('preferred'))
    monkeypatch.setattr(compat, 'PREFERENCES', (ours,))
    monkeypatch.setattr(compat, '_applied', set(compat._applied))
    compat.apply_all()
    importlib.reload(register)
    assert not applied
    assert compat.states()['preferred'] == 'needed'
    launch.load_config(argparse.Namespace(config=TINY, cfg_options=None, launcher='none', local_rank=0))
    assert applied == ['preferred']
    assert compat.states()['preferred'] == 'applied'


def test_other_devices_keep_their_own_kernels():
    tensor = types.SimpleNamespace(device=torch.device('cuda', 1))
    kernel = by_device(lambda *_, **__: 'ours', lambda *arguments, **named: ('theirs', arguments, named))
    assert kernel(tensor, 1, m=2) == ('theirs', (tensor, 1), {'m': 2})
    assert kernel(torch.zeros(1), 1) == 'ours'


def test_sampling_on_another_device_reaches_the_original():
    from mmcv.ops.furthest_point_sample import FurthestPointSampling

    original = FurthestPointSampling.forward.__wrapped__
    tensor = torch.zeros(1, 3, 3, device='meta')
    with mock.patch('torch.cuda.IntTensor', side_effect=RuntimeError('asked for CUDA'), create=True):
        for forward in (original, FurthestPointSampling.forward):
            with pytest.raises(RuntimeError, match='asked for CUDA'):
                forward(mock.Mock(), tensor, 2)


def test_replacing_reaches_names_copied_before():
    def old():
        return 'old'

    module = types.ModuleType('copied_before')
    module.alias = old
    with mock.patch.dict(sys.modules, {'copied_before': module}):
        replace_everywhere(old, lambda: 'new')
    assert module.alias() == 'new'


# --- checkpoints -----------------------------------------------------------------------------------------------------


def train(folder, epochs, **hook):
    """An ordinary run of MMEngine that writes its ordinary checkpoints."""
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class Line(BaseModel):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, inputs, mode='loss'):
            return {'loss': (self.layer(inputs) - 1).square().mean()}

    loader = torch.utils.data.DataLoader(torch.ones(4, 1), collate_fn=lambda rows: {'inputs': torch.stack(rows)})
    runner = Runner(
        Line(),
        str(folder),
        train_dataloader=loader,
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 0.1}},
        param_scheduler={'type': 'CosineAnnealingLR', 'T_max': epochs},
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1, **hook}},
        experiment_name=f'{folder.name}_{epochs}',
        resume=(folder / 'last_checkpoint').exists(),
        log_level='ERROR',
    )
    runner.train()
    return runner


def test_a_run_resumes_from_its_own_checkpoint_and_keeps_the_newest(tmp_path):
    train(tmp_path, 3, max_keep_ckpts=2)
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_2.pth', 'epoch_3.pth']
    runner = train(tmp_path, 5, max_keep_ckpts=2)
    assert runner.epoch == 5
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_4.pth', 'epoch_5.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_5.pth')
    checkpoint = torch.load(tmp_path / 'epoch_5.pth', weights_only=True)
    assert list(checkpoint['message_hub']['runtime_info']['keep_ckpt_ids']) == [4, 5]
    loss = checkpoint['message_hub']['log_scalars']['train/loss']
    assert len(loss.data[0]) == 20
    assert loss.mean() >= loss.min()  # the statistics still belong to it
    assert not list(tmp_path.glob('.*.tmp'))


class RunsCode:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    'evil',
    [
        RunsCode(print, 'owned'),
        RunsCode(getattr, HistoryBuffer, '__init__'),
        RunsCode(getattr, np.ndarray, 'tofile'),
        RunsCode(getattr, 'text', 'format'),
    ],
)
def test_a_checkpoint_cannot_run_code(tmp_path, evil):
    from mmengine.runner.checkpoint import load_checkpoint

    path = tmp_path / 'evil.pth'
    torch.save({'state_dict': {}, 'meta': evil}, path)
    with pytest.raises(UserError, match=r'evil\.pth: not readable as a checkpoint: it is damaged or holds more than'):
        load_checkpoint(torch.nn.Linear(1, 1), str(path))


def test_loads_are_safe_whatever_the_default_of_torch(tmp_path):
    from mmengine.runner import checkpoint

    with mock.patch('torch.load') as load:
        checkpoint.torch.load('x.pth', map_location='cpu')
        load.assert_called_once_with('x.pth', weights_only=True, map_location='cpu')
    assert checkpoint.torch.nn is torch.nn


# --- momentum --------------------------------------------------------------------------------------------------------


def momentum(eta_min, **more):
    return {'type': 'CosineAnnealingMomentum', 'T_max': 4, 'eta_min': eta_min, **more}


def test_ratios_are_read_as_ratios():
    rate = {'type': 'CosineAnnealingLR', 'eta_min': 2.0}
    mended = mend_cyclic_momentum([rate, momentum(0.85 / 0.95), momentum(1, begin=4)])
    assert mended == [
        rate,
        {'type': 'CosineAnnealingMomentum', 'T_max': 4, 'eta_min_ratio': 0.85 / 0.95},
        {'type': 'CosineAnnealingMomentum', 'T_max': 4, 'begin': 4, 'eta_min_ratio': 1},
    ]


@pytest.mark.parametrize(
    'schedule',
    [
        [],
        [momentum(0.85), momentum(0.95)],
        [{'type': 'CosineAnnealingMomentum', 'eta_min_ratio': 1}],
        [{'type': 'CosineAnnealingLR', 'eta_min': 1}],
        ['an object that was built already'],
    ],
)
def test_possible_schedules_are_left_alone(schedule):
    assert mend_cyclic_momentum(schedule) == schedule


def test_stock_momentum_goes_from_095_to_085_and_back():
    import mmdet3d
    from mmengine.config import Config
    from mmengine.optim import OptimWrapper
    from mmengine.runner import Runner

    path = Path(mmdet3d.__file__).parent / '.mim/configs/pv_rcnn/pv_rcnn_8xb2-80e_kitti-3d-3class.py'
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1e-3, betas=(0.95, 0.99))
    runner = types.SimpleNamespace(_train_loop=None, train_dataloader=[None] * 3, logger=mock.Mock())
    parts = Runner._build_param_scheduler(runner, Config.fromfile(str(path)).param_scheduler, OptimWrapper(optimizer))
    trace = []
    for _ in range(40 * 3):
        trace.append(optimizer.param_groups[0]['betas'][0])
        optimizer.step()
        for part in parts:
            part.step()
    assert trace[0] == pytest.approx(0.95)
    assert min(trace) == pytest.approx(0.85, abs=2e-3)
    assert np.argmin(trace) in range(15 * 3 - 1, 15 * 3 + 2)
    assert trace[-1] == pytest.approx(0.95, abs=2e-3)


# --- frames with nothing in them -------------------------------------------------------------------------------------


def test_proposals_carry_the_number_of_their_frame():
    from mmdet3d.structures import bbox3d2roi

    stacked = bbox3d2roi([torch.ones(2, 7), torch.zeros(0, 7), torch.full((1, 7), 3.0)])
    assert stacked.tolist() == [[0] + [1] * 7] * 2 + [[2] + [3] * 7]
    assert bbox3d2roi([torch.zeros(0, 7)] * 2).shape == (0, 8)


@pytest.mark.parametrize('points', [torch.zeros(0, 4), torch.full((3, 4), -1.0), torch.full((2, 4), torch.nan)])
def test_a_frame_without_points_in_range_gets_one(points):
    mended = with_point_in_range(points, [0, 0, 0, 4, 4, 2])
    assert len(mended) == len(points) + 1
    assert mended[-1].tolist() == [2, 2, 1, 0]


def test_a_frame_with_points_in_range_is_left_alone():
    points = torch.tensor([[9.0, 9, 9, 0.5], [1, 1, 1, 0.5]])
    assert with_point_in_range(points, [0, 0, 0, 4, 4, 2]) is points


@pytest.mark.parametrize(
    'index',
    [[True, False, True, True], [False] * 4, [3, 0, 0], [], [2]],
    ids=['mask', 'nothing', 'rows', 'none', 'one'],
)
@pytest.mark.parametrize('columns', [7, 9])
def test_boxes_taken_at_once_are_those_that_upstream_takes_one_by_one(monkeypatch, index, columns):
    from mmdet3d.structures import LiDARInstance3DBoxes
    from mmengine.structures import InstanceData

    boxes = LiDARInstance3DBoxes(torch.rand(4, columns), box_dim=columns)
    instances = InstanceData(metainfo={'frame': 'a'}, scores=torch.rand(4), bboxes_3d=boxes, names=list('abcd'))
    if not any(index):
        del instances.names  # upstream cannot take nothing of a list
    item = torch.tensor(index, dtype=torch.bool if any(value is False for value in index) else torch.long)
    take = inspect.unwrap(InstanceData.__getitem__)
    expected = take(instances, item)
    monkeypatch.setattr(InstanceData, '__getitem__', take)
    mmdet3d_fixes._take_boxes_at_once()
    found = instances[item]
    assert type(found.bboxes_3d) is LiDARInstance3DBoxes
    assert (found.bboxes_3d.box_dim, found.bboxes_3d.with_yaw) == (columns, True)
    assert torch.equal(found.bboxes_3d.tensor, expected.bboxes_3d.tensor)
    assert torch.equal(found.scores, expected.scores)
    assert sorted(found.keys()) == sorted(expected.keys())
    assert found.get('names') == expected.get('names')
    assert found.metainfo == {'frame': 'a'}
    assert torch.equal(instances[1:].bboxes_3d.tensor, boxes.tensor[1:])  # slices go their old way


@pytest.mark.parametrize('name', allocator.USERS)
def test_an_allocator_that_a_user_has_chosen_stays(monkeypatch, name):
    for other in allocator.USERS:
        monkeypatch.delenv(other, raising=False)
    [keep] = allocator.PREFERENCES
    assert keep.is_needed() is (platform.libc_ver()[0] == 'glibc')
    monkeypatch.setenv(name, 'libjemalloc.so.2')
    assert not keep.is_needed()


# --- packages --------------------------------------------------------------------------------------------------------


def test_packages_are_found_without_pkg_resources():
    import mmdet3d

    assert get_installed_path('mmdet3d') == str(Path(mmdet3d.__file__).parent)
    assert get_installed_path('opencv-python-headless').endswith('cv2')
    assert is_installed('mmdet3d')
    assert is_installed('json')
    assert not is_installed('no-such-package')
    with pytest.raises(ModuleNotFoundError, match='no-such-package is not installed'):
        get_installed_path('no-such-package')


def test_base_configs_of_other_packages_are_found():
    from mmengine.config import Config

    text = "_base_ = 'mmdet3d::_base_/schedules/cyclic-40e.py'"
    assert Config.fromstring(text, '.py').lr == 0.0018


def test_log_history_of_the_hub_survives():
    hub = MessageHub.get_instance('test_compat')
    hub.update_scalar('train/loss', 1.5)
    assert hub.get_scalar('train/loss').current() == 1.5
