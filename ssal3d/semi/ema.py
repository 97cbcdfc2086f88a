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


def ramp_of_run(iterations: int, share: float | None, steps: int = 2000, end: float = 0.9996) -> tuple[int, float]:
    """Return length and last keep rate of the ramp in a run of some length.

    The ramp takes a share of the run, at most the released ``steps``. Where it is shorter, the teacher's memory shrinks
    as much, to ``end ** (steps / length)``: a run of hundreds of steps with the rate of a long one would never move the
    teacher away from where the ramp ended.

    Args:
        iterations: Updates of the run.
        share: Largest part of the run that the ramp may take, in [0, 1]; None for ``steps`` and ``end`` as they are.
        steps: Greatest length.
        end: Last keep rate after a ramp of ``steps``, in [0, 1].

    >>> ramp_of_run(17200, 0.2), ramp_of_run(94, None)  # a full KITTI stage, and a fixed length
    ((2000, 0.9996), (2000, 0.9996))
    >>> length, last = ramp_of_run(1000, 0.2)
    >>> length, round(last, 6)
    (200, 0.996007)
    """
    length = steps if share is None else min(steps, max(1, round(share * iterations)))
    return (steps, end) if length >= steps else (length, end ** (steps / length))


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
class MeanTeacherHook(Hook):
    """Moves ``model.teacher`` towards ``model.student`` after every iteration.

    The released codes do it between forward and optimiser step, which lags by one step; here the teacher sees the
    stepped student. The keep rate depends on the number of the update alone, so a resumed run goes on where it was.
    With accumulated gradients there is an update for each step of the optimiser, not for each iteration.

    Args:
        kind: ``'warm'`` (3DIoUMatch): parameters only, the teacher's statistics come from its own passes in training
            mode. ``'ramp'`` (HSSDA): buffers as well.
        cap: Largest keep rate of ``'warm'``.
        steps: Greatest length of ``'ramp'`` in updates (HSSDA: 2,000).
        start: First keep rate of ``'ramp'``.
        end: Last keep rate of a ``'ramp'`` of ``steps`` updates.
        share: Largest part of the run that ``'ramp'`` may take, see `ramp_of_run`; None: ``steps``, whatever the run's
            length.

    Raises:
        UserError: If there is no such kind, a rate or the share is outside [0, 1] or ``steps`` negative.
    """

    def __init__(
        self,
        kind: Literal['warm', 'ramp'] = 'warm',
        cap: float = 0.999,
        steps: int = 2000,
        start: float = 0.5,
        end: float = 0.9996,
        share: float | None = 0.2,
    ) -> None:
        if kind not in KINDS:
            raise unknown_name('kind of MeanTeacherHook', kind, list(KINDS))
        if not all(0 <= rate <= 1 for rate in (cap, start, end)) or steps < 0:
            raise UserError(
                f'MeanTeacherHook: found cap {cap}, start {start}, end {end}, steps {steps}; expected rates in [0, 1] '
                'and steps >= 0'
            )
        if share is not None and not 0 < share <= 1:
            raise UserError(f'MeanTeacherHook: found share {share}, expected a part of the run in (0, 1], or None')
        self.share, self.every = share, 1
        self.length, self.last = steps, end
        self.kind, self.cap, self.steps, self.start, self.end = kind, cap, steps, start, end

    def keep_rate(self, t: int) -> float:
        """Return the share of the teacher that update t = 1, 2, ... keeps; before `before_train` without ``share``."""
        if self.kind == 'warm':
            return warm_keep_rate(t, self.cap)
        return ramp_keep_rate(t, self.length, self.start, self.last)

    def before_train(self, runner: Runner) -> None:
        """Check that the model has a teacher and a student, and fit the ramp to the run."""
        model = unwrapped(runner.model)
        for name in ('teacher', 'student'):
            if not isinstance(getattr(model, name, None), nn.Module):
                raise UserError(f'MeanTeacherHook: {type(model).__name__} has no {name}; use it with a SemiDetector3D')
        self.every = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        updates = -(-runner.max_iters // self.every)
        self.length, self.last = ramp_of_run(updates, self.share, self.steps, self.end)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Update the teacher; ``runner.iter`` still is the number of finished iterations before this one."""
        done = runner.iter + 1
        if done % self.every and done != runner.max_iters:
            return  # gradients were accumulated, the student has not moved
        model = unwrapped(runner.model)
        teacher, student = cast(nn.Module, model.teacher), cast(nn.Module, model.student)
        ema_update(teacher, student, self.keep_rate(-(-done // self.every)), buffers=self.kind == 'ramp')
