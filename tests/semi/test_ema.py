"""Keep rates of the spec and the teacher's update."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmdet3d.registry import HOOKS
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from ssal3d.errors import UserError
from ssal3d.semi.ema import MeanTeacherHook, ema_update, ramp_keep_rate, ramp_of_run, warm_keep_rate


def pair():
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    teacher = copy.deepcopy(student).requires_grad_(False)
    for tensor in student.state_dict().values():
        tensor.add_(2)
    return SimpleNamespace(teacher=teacher, student=student)


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_keep_rates():
    assert [warm_keep_rate(t) for t in (1, 9, 999, 10**6)] == pytest.approx([0.5, 0.9, 0.999, 0.999])
    found = [ramp_keep_rate(t) for t in (1, 1000, 2000, 10**6)]
    assert found == pytest.approx([0.5002498, 0.7498, 0.9996, 0.9996], abs=1e-9)


@pytest.mark.parametrize('buffers', [False, True])
def test_update(buffers):
    model = pair()
    before, student = state(model.teacher), state(model.student)
    ema_update(model.teacher, model.student, 0.9, buffers)
    parameters = {name for name, _ in model.teacher.named_parameters()}
    for name, tensor in model.teacher.state_dict().items():
        moved = before[name] * 0.9 + student[name] * 0.1 if tensor.is_floating_point() else student[name]
        torch.testing.assert_close(tensor, moved if buffers or name in parameters else before[name])
        assert torch.equal(student[name], model.student.state_dict()[name])
    assert model.student[0].weight.requires_grad


def test_shared_parameters_move_once_and_strange_students_are_refused():
    model = pair()
    for module in (model.teacher, model.student):
        module.append(module[0])
    before = model.teacher[0].weight.clone()
    ema_update(model.teacher, model.student, 0.5, True)
    torch.testing.assert_close(model.teacher[0].weight, before + 1)
    with pytest.raises(UserError, match="only one of them has 'num_batches_tracked'"):
        ema_update(nn.Linear(3, 4), nn.BatchNorm1d(4), 0.5, True)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.student, self.teacher = nn.BatchNorm1d(2), nn.BatchNorm1d(2)


def run(hook, model, iterations, wrapper=lambda model: model, length=100_000, accumulated=1):
    optimizer = SimpleNamespace(_accumulative_counts=accumulated)
    runner = SimpleNamespace(model=wrapper(model), iter=0, max_iters=length, optim_wrapper=optimizer)
    hook.before_train(runner)
    for runner.iter in iterations:
        with torch.no_grad():
            model.student.weight.add_(1)
            model.student.running_mean.add_(1)
        hook.after_train_iter(runner, 0)
    return model.teacher


@pytest.mark.parametrize(('kind', 'rate'), [('warm', warm_keep_rate), ('ramp', ramp_keep_rate)])
def test_hook(kind, rate):
    hook = HOOKS.build({'type': 'MeanTeacherHook', 'kind': kind})
    teacher = run(hook, Model(), range(4))
    expected = 1.0
    for t in range(1, 5):
        expected = rate(t) * expected + (1 - rate(t)) * (1 + t)
    assert teacher.weight.tolist() == pytest.approx([expected] * 2)
    assert teacher.running_mean.tolist() == pytest.approx([0.0 if kind == 'warm' else expected - 1] * 2)
    resumed = Model()
    run(HOOKS.build({'type': 'MeanTeacherHook', 'kind': kind}), resumed, range(2))
    run(HOOKS.build({'type': 'MeanTeacherHook', 'kind': kind}), resumed, range(2, 4))
    assert torch.equal(resumed.teacher.weight, teacher.weight)


@pytest.mark.parametrize('length', [10_000, 17_200, 24_800])
def test_a_long_run_has_the_released_ramp(length):
    hook = MeanTeacherHook('ramp')
    run(hook, Model(), range(1), length=length)
    assert [hook.keep_rate(t) for t in (1, 777, 1999, length)] == [ramp_keep_rate(t) for t in (1, 777, 1999, length)]


def test_a_short_run_has_a_short_ramp_and_a_teacher_that_remembers_as_much_of_it():
    hook = MeanTeacherHook('ramp')
    run(hook, Model(), range(1), length=100)
    assert (hook.length, hook.last) == ramp_of_run(100, 0.2) == (20, pytest.approx(0.9996**100))
    assert hook.keep_rate(10) == pytest.approx((0.5 + 0.9996**100) / 2)
    # What is left of the teacher of the ramp's end after a tenth of the run is the same in runs of any length.
    shares = [ramp_of_run(length, 0.2)[1] ** (length / 10) for length in (100, 1000, 10_000)]
    assert shares == pytest.approx([0.9996**1000] * 3)


def test_a_fixed_ramp_ignores_the_length_of_the_run():
    hook = MeanTeacherHook('ramp', share=None)
    run(hook, Model(), range(1), length=94)
    assert hook.keep_rate(94) == ramp_keep_rate(94) == pytest.approx(0.5 + 0.4996 * 94 / 2000)


def test_accumulated_gradients_move_the_teacher_once_a_step():
    teacher = run(MeanTeacherHook('ramp', share=None), Model(), range(7), length=7, accumulated=3)
    expected = 1.0
    for t, student in ((1, 4), (2, 7), (3, 8)):  # after iterations 3, 6 and the last one
        expected = ramp_keep_rate(t) * expected + (1 - ramp_keep_rate(t)) * student
    assert teacher.weight.tolist() == pytest.approx([expected] * 2)


def test_hook_unwraps_and_checks():
    class Wrapper(MMDistributedDataParallel):
        def __init__(self, module):
            nn.Module.__init__(self)
            self.module = module

    assert run(MeanTeacherHook(), Model(), range(1), Wrapper).weight.tolist() == [1.5, 1.5]
    with pytest.raises(UserError, match='has no teacher'):
        MeanTeacherHook().before_train(SimpleNamespace(model=nn.Linear(1, 1)))
    with pytest.raises(UserError, match="did you mean 'warm'"):
        MeanTeacherHook('warn')
    with pytest.raises(UserError, match='expected rates'):
        MeanTeacherHook(cap=1.5)
    with pytest.raises(UserError, match='found share 20, expected a part of the run'):
        MeanTeacherHook(share=20)


def test_iteration_count_of_a_real_runner(tmp_path):
    class Tiny(BaseModel):
        def __init__(self):
            super().__init__()
            self.student, self.teacher = nn.Linear(1, 1), nn.Linear(1, 1)

        def forward(self, inputs, mode='loss'):
            return {'loss': self.student(inputs).sum()}

    seen = []

    class Recorder(MeanTeacherHook):
        def keep_rate(self, t):
            seen.append(t)
            return super().keep_rate(t)

    runner = Runner(
        model=Tiny(),
        work_dir=str(tmp_path),
        train_dataloader=DataLoader([{'inputs': torch.ones(1)}] * 2),
        train_cfg={'by_epoch': True, 'max_epochs': 2},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        custom_hooks=[Recorder()],
        experiment_name='ema',
        default_scope='mmdet3d',  # as other tests expect it afterwards
        log_level='ERROR',
    )
    runner.train()
    assert seen == [1, 2, 3, 4]
