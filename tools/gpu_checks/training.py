"""Training steps of the full-size detector: against stock, in mixed precision, of every method, with memory."""

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks import _semi_step
from benchmarks.train_step import CARS, ROOT, sample
from mmengine.registry import init_default_scope
from scipy.stats import quantile_test

from gpu_checks.inputs import build, config_name, model_config, two_clouds
from gpu_checks.record import Figures, NotHeldError, Record
from ssal3d.configs import read_config
from ssal3d.models.mixed_precision import dense_in, fastest_type
from ssal3d.registry import STAGES
from ssal3d.semi.ema import ema_update
from ssal3d.stages.supervised import StageInputs

SLOWER = 1.05  # at most, than stock
TURNS = 25  # of stock and ours; one step alone varies by a tenth
OTHER = 0.05  # share by which the loss of the same weights may differ from stock's
MODELS = ('stock', 'ours')
METHODS = ('threedioumatch', 'joint3d', 'nal', 'hssda')


def run(record: Record) -> None:
    """Compare a supervised step with stock MMDetection3D's, which runs with the same repairs.

    Both are timed in turns: on a machine that others share, times of one model after the other differ by more than
    what is checked.

    Args:
        record: Where results go.
    """
    for frames in (2, 4) if record.on_gpu else (2,):
        losses: dict[str, float] = {}
        for name in MODELS:
            record.check(
                f'a step of {frames} frames, {name}',
                lambda frames=frames, name=name, losses=losses: _alone(record, frames, name, losses),
            )
        record.check(f'steps of {frames} frames in turns', lambda frames=frames: _in_turns(record, frames))
    record.check('a step of 2 frames, mixed precision', lambda: _mixed(record))


def run_methods(record: Record) -> None:
    """Take a step of every method, in single and in mixed precision.

    Args:
        record: Where results go.
    """
    for method in METHODS:
        for mixed in (False, True):
            label = f'{method}, {"mixed" if mixed else "single"} precision'
            record.check(label, lambda method=method, mixed=mixed: _method(record, method, mixed))


def method_model(record: Record, method: str) -> Any:
    """Build the model of a method, as the experiment of that size would.

    Args:
        record: Says which size.
        method: One of `METHODS`.
    """
    init_default_scope('mmdet3d')
    experiment = read_config(ROOT / 'configs' / 'ssal' / f'{config_name(record)}.py')
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        inputs = StageInputs(work, work / 'labels.json', work / 'start.pth', work / 'predictions')
        run_config = STAGES.build(copy.deepcopy(dict(experiment.stages[method]))).build_config(experiment, inputs)
    return _semi_step.build(run_config).to(record.device)


def _labelled(frames: int) -> dict[str, Any]:
    clouds = two_clouds() * (frames // 2)
    return {'inputs': {'points': clouds}, 'data_samples': [sample(CARS) for _ in clouds]}


def _mixed(record: Record) -> Figures:
    model = build(model_config(record), record.device, training=True)
    with _half(record) as precision:
        return _timed(record, _Steps(model, _labelled(2), precision))


@contextmanager
def _half(record: Record) -> Iterator[Any]:
    """Give the context of a forward pass in the fastest type of this device; bfloat16 in a rehearsal."""
    dtype = fastest_type(record.device) if record.on_gpu else torch.bfloat16
    yield lambda: dense_in(dtype)


class _Steps:
    """Training steps of a model on one batch: forward, backward and optimiser.

    Args:
        model: Model that learns.
        batch: Its inputs and samples.
        precision: Makes the context of the forward pass.
    """

    def __init__(self, model: Any, batch: Any, precision: Callable[[], AbstractContextManager] = nullcontext) -> None:
        self.model, self.batch, self.precision = model, batch, precision
        self.learning = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.optimizer, self.losses = torch.optim.AdamW(self.learning.values(), 1e-4), []

    def __call__(self) -> None:
        """Take a step."""
        with self.precision():
            losses = self.model(**self.model.data_preprocessor(_semi_step._copied(self.batch), True), mode='loss')
        loss, _ = self.model.parse_losses(losses)
        self.losses.append(loss.detach())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def _timed(record: Record, step: _Steps, repeats: int = 15) -> Figures:
    """Time steps; the loss must be finite and every parameter learn."""
    record.forget_memory()
    torch.manual_seed(0)  # of the sampled regions
    figures = {'ms': record.milliseconds(step, repeats), 'GiB': record.gibibytes(), 'loss': float(step.losses[0])}
    idle = [name for name, value in step.learning.items() if value.grad is None]
    if not bool(torch.isfinite(step.losses[-1])) or idle:
        raise NotHeldError(f'loss {float(step.losses[-1])}, without gradient: {idle[:3]}')
    return figures


def _steps(record: Record, frames: int, name: str) -> _Steps:
    model = build(model_config(record, stock=name == 'stock'), record.device, training=True)
    return _Steps(model, _labelled(frames))


def _alone(record: Record, frames: int, name: str, losses: dict[str, float]) -> Figures:
    """Take a few steps of one model, which give its memory; ours must begin with the loss of stock."""
    figures = _timed(record, _steps(record, frames, name), 3)
    losses[name] = figures['loss']
    if not abs(losses[name] / losses['stock'] - 1) <= OTHER:
        raise NotHeldError(f'loss {losses[name]:.4g}, of stock {losses["stock"]:.4g}')
    return figures


def _in_turns(record: Record, frames: int) -> Figures:
    """Time stock and ours in turns: the median of the ratios, with a 95 % interval, must not be above `SLOWER`."""
    stock, ours = record.times([_steps(record, frames, name) for name in MODELS], TURNS)
    figures = {'stock ms': 1000 * float(np.median(stock)), 'ms': 1000 * float(np.median(ours))}
    if not record.on_gpu:
        return figures
    ratio, sure = float(np.median(ours / stock)), quantile_test(ours / stock).confidence_interval()
    if ratio > SLOWER:
        raise NotHeldError(f'{ratio:.3f} of stock ({sure.low:.3f} to {sure.high:.3f}), {SLOWER} allowed')
    return figures | {'of stock': ratio, 'at least': float(sure.low), 'at most': float(sure.high)}


def _method(record: Record, method: str, mixed: bool) -> Figures:
    model = method_model(record, method)
    with _half(record) as half:
        figures = _timed(record, _Steps(model, _semi_step.clouds(method), half if mixed else nullcontext))
    if model.teacher is not None:
        figures['ms of the moving average'] = record.milliseconds(
            lambda: ema_update(model.teacher, model.student, 0.9, True), 5
        )
    return figures
