"""The teacher as moving average of the student (Mean Teacher, Tarvainen and Valpola 2017, arXiv 1703.01780)."""

from typing import Literal, cast

import torch
from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from ssal3d.errors import UserError, unknown_name
from ssal3d.models.wrapping import unwrapped

KINDS = ('warm', 'ramp')


def warm_keep_rate(t: int, cap: float = 0.999) -> float:
    """Return the share of the teacher that update t = 1, 2, ... keeps in 3DIoUMatch: the mean of all students at first.

    Args:
        t: Number of the update, from 1.
        cap: Largest share, in [0, 1].

    >>> warm_keep_rate(1), warm_keep_rate(9), warm_keep_rate(999), warm_keep_rate(5000)
    (0.5, 0.9, 0.999, 0.999)
    """
    return min(1 - 1 / (t + 1), cap)


def ramp_keep_rate(t: int, steps: int = 2000, start: float = 0.5, end: float = 0.9996) -> float:
    """Return the share of the teacher that update t = 1, 2, ... keeps in HSSDA: linear from start to end.

    Args:
        t: Number of the update, from 1.
        steps: Update from which ``end`` holds.
        start: Share at t = 0, in [0, 1].
        end: Final share, in [0, 1].

    >>> round(ramp_keep_rate(1), 7), round(ramp_keep_rate(1000), 4), ramp_keep_rate(2000), ramp_keep_rate(9000)
    (0.5002498, 0.7498, 0.9996, 0.9996)
    """
    return start + (end - start) * t / steps if t < steps else end


@torch.no_grad()
def ema_update(teacher: nn.Module, student: nn.Module, keep: float, buffers: bool) -> None:
    """Move the teacher towards the student in place: ``keep * teacher + (1 - keep) * student``.

    Args:
        teacher: Changed in place.
        student: Of the same architecture.
        keep: Share of the teacher, in [0, 1].
        buffers: Whether the buffers (statistics of batch normalisation) move, too; those of integers are copied.

    Raises:
        UserError: If the two have not the same parameters and buffers.
    """
    sources, targets = _tensors(student, buffers), _tensors(teacher, buffers)
    if sources.keys() != targets.keys():
        odd = sorted(sources.keys() ^ targets.keys())[0]
        raise UserError(f"teacher and student: only one of them has '{odd}'; build both from one config")
    moving = [name for name, target in targets.items() if target.is_floating_point()]
    if moving:  # one kernel for all of them where the device has such kernels
        torch._foreach_lerp_(
            [targets[name] for name in moving], [sources[name].to(targets[name].dtype) for name in moving], 1 - keep
        )
    counters = [name for name, target in targets.items() if not target.is_floating_point()]
    if counters:
        torch._foreach_copy_([targets[name] for name in counters], [sources[name] for name in counters])


def _tensors(module: nn.Module, buffers: bool) -> dict[str, Tensor]:
    # Not state_dict: it names a shared tensor twice, which would then move twice.
    tensors: dict[str, Tensor] = dict(module.named_parameters())
    return tensors | dict(module.named_buffers()) if buffers else tensors


@HOOKS.register_module()
class TeacherEMAHook(Hook):
    """Moves ``model.teacher`` towards ``model.student`` after every iteration.

    The released codes do it between forward and optimiser step, which lags by one step; here the teacher sees the
    stepped student. The keep rate depends on the number of the iteration alone, so a resumed run goes on where it was.

    Args:
        kind: ``'warm'`` (3DIoUMatch): parameters only, the teacher's statistics come from its own passes in training
            mode. ``'ramp'`` (HSSDA): buffers as well.
        cap: Largest keep rate of ``'warm'``.
        steps: Length of ``'ramp'`` in iterations.
        start: First keep rate of ``'ramp'``.
        end: Last keep rate of ``'ramp'``.

    Raises:
        UserError: If there is no such kind, a rate is outside [0, 1] or ``steps`` negative.
    """

    def __init__(
        self,
        kind: Literal['warm', 'ramp'] = 'warm',
        cap: float = 0.999,
        steps: int = 2000,
        start: float = 0.5,
        end: float = 0.9996,
    ) -> None:
        if kind not in KINDS:
            raise unknown_name('kind of TeacherEMAHook', kind, list(KINDS))
        if not all(0 <= rate <= 1 for rate in (cap, start, end)) or steps < 0:
            raise UserError(
                f'TeacherEMAHook: found cap {cap}, start {start}, end {end}, steps {steps}; expected rates in [0, 1] '
                'and steps >= 0'
            )
        self.kind, self.cap, self.steps, self.start, self.end = kind, cap, steps, start, end

    def keep_rate(self, t: int) -> float:
        """Return the share of the teacher that iteration t = 1, 2, ... keeps."""
        return (
            warm_keep_rate(t, self.cap) if self.kind == 'warm' else ramp_keep_rate(t, self.steps, self.start, self.end)
        )

    def before_train(self, runner: Runner) -> None:
        """Check that the model has a teacher and a student.

        Args:
            runner: The runner.
        """
        model = unwrapped(runner.model)
        for name in ('teacher', 'student'):
            if not isinstance(getattr(model, name, None), nn.Module):
                raise UserError(f'TeacherEMAHook: {type(model).__name__} has no {name}; use it with a SemiDetector3D')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Update the teacher.

        Args:
            runner: The runner, whose ``iter`` still is the number of finished iterations before this one.
            batch_idx: Not used.
            data_batch: Not used.
            outputs: Not used.
        """
        model = unwrapped(runner.model)
        teacher, student = cast(nn.Module, model.teacher), cast(nn.Module, model.student)
        ema_update(teacher, student, self.keep_rate(runner.iter + 1), buffers=self.kind == 'ramp')
