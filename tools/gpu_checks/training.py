"""Training steps of the full-size detector: against stock, in mixed precision, of every method, with memory."""

import copy
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from benchmarks import _semi_step
from benchmarks.train_step import CARS, ROOT, sample
from mmengine.registry import init_default_scope

from gpu_checks.inputs import build, config_name, model_config, two_clouds
from gpu_checks.record import Figures, NotHeldError, Record
from ssal3d.configs import read_config
from ssal3d.models.mixed_precision import dense_in, fastest_type
from ssal3d.registry import STAGES
from ssal3d.semi.ema import ema_update
from ssal3d.stages.supervised import StageInputs

SLOWER = 1.05  # at most, than stock
OTHER = 0.05  # share by which the loss of the same weights may differ from stock's
METHODS = ('threedioumatch', 'joint3d', 'nal', 'hssda')


def run(record: Record) -> None:
    """Compare a supervised step with stock MMDetection3D's, which runs with the same repairs.

    Args:
        record: Where results go.
    """
    stock: dict[int, Figures] = {}

    def step(frames: int, config: Any, name: str) -> Figures:
        figures = _timed(record, build(config, record.device, training=True), _labelled(frames))
        if name == 'stock':
            stock[frames] = figures
        elif frames in stock:
            figures['of stock'] = figures['ms'] / stock[frames]['ms']
            if record.on_gpu and figures['of stock'] > SLOWER:
                raise NotHeldError(f'{figures["ms"]:.0f} ms, {figures["of stock"]:.3f} of stock, {SLOWER} allowed')
            if not abs(figures['loss'] / stock[frames]['loss'] - 1) <= OTHER:
                raise NotHeldError(f'loss {figures["loss"]:.4g}, of stock {stock[frames]["loss"]:.4g}')
        return figures

    for frames in (2, 4) if record.on_gpu else (2,):
        for name in ('stock', 'ours'):
            config = model_config(record, stock=name == 'stock')
            record.check(
                f'a step of {frames} frames, {name}',
                lambda frames=frames, config=config, name=name: step(frames, config, name),
            )
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
        return _timed(record, model, _labelled(2), precision)


@contextmanager
def _half(record: Record) -> Iterator[Any]:
    """Give the context of a forward pass in the fastest type of this device; bfloat16 in a rehearsal."""
    dtype = fastest_type(record.device) if record.on_gpu else torch.bfloat16
    yield lambda: dense_in(dtype)


def _timed(record: Record, model: Any, batch: Any, precision: Any = nullcontext) -> Figures:
    """Time forward, backward and optimiser; the loss must be finite and every parameter learn."""
    parameters = [value for value in model.parameters() if value.requires_grad]
    optimizer, seen = torch.optim.AdamW(parameters, 1e-4), []

    def step() -> None:
        context: AbstractContextManager = precision()
        with context:
            losses = model(**model.data_preprocessor(_semi_step._copied(batch), True), mode='loss')
        loss, _ = model.parse_losses(losses)
        seen.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    record.forget_memory()
    torch.manual_seed(0)  # of the sampled regions
    figures = {'ms': record.milliseconds(step, 15), 'GiB': record.gibibytes(), 'loss': float(seen[0])}
    idle = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    if not bool(torch.isfinite(seen[-1])) or idle:
        raise NotHeldError(f'loss {float(seen[-1])}, without gradient: {idle[:3]}')
    return figures


def _method(record: Record, method: str, mixed: bool) -> Figures:
    model = method_model(record, method)
    with _half(record) as half:
        figures = _timed(record, model, _semi_step.clouds(method), half if mixed else nullcontext)
    if model.teacher is not None:
        figures['ms of the moving average'] = record.milliseconds(
            lambda: ema_update(model.teacher, model.student, 0.9, True), 5
        )
    return figures
