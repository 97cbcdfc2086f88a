"""One training step of a semi-supervised method: a labelled and an unlabelled frame through the small PV-RCNN."""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from benchmarks.train_step import CARS, row, sample, scan
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.registry import STAGES
from ssal3d.stages.supervised import StageInputs

ROOT = Path(__file__).resolve().parents[2]
# Passes of one step by method: predictions of the teacher, forward and backward passes of the student.
PASSES = {'supervised': (0, 2), 'threedioumatch': (1, 2), 'joint3d': (1, 2), 'nal': (0, 4), 'hssda': (2, 2)}


def method_step(method: str, repeats: int) -> list[dict[str, Any]]:
    """Time the fastest of some steps of one method, and what the passes that it has to make cost by themselves."""
    if method not in PASSES:
        raise UserError(f'--method: found {method!r}, expected one of {", ".join(PASSES)}')
    init_default_scope('mmdet3d')
    torch.set_num_threads(1)
    config = read_config(ROOT / 'configs' / 'ssal' / 'pvrcnn_kitti_mini.py')
    work = Path(tempfile.gettempdir())
    stage = STAGES.build(dict(config.stages[method]))
    run = stage.build_config(config, StageInputs(work, work / 'labels.json', work / 'x.pth', work / 'predictions'))
    model, batch = build(run), clouds(method)
    timed_step(model, batch)  # the first one compiles
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    detector, frames = build(config), clouds('supervised')
    timed_passes(detector, frames)
    step, each = [], []
    for _ in range(repeats):  # in turn, so that other jobs slow both down
        step.append(timed_step(model, batch))
        each.append(timed_passes(detector, frames))
    forward, backward, predict = (min(seconds) for seconds in zip(*each))
    teacher, student = PASSES[method]
    expected = teacher * predict + student * (forward + backward)
    best = min(step)
    return [
        row(f'{method}: step of 2 frames', best, 1200 * expected),
        row(f'{method}: expected of {teacher} predictions, {student} forward and backward passes', expected),
        {'part': f'{method}: step over expected', 'value': best / expected, 'unit': '', 'target': 1.2},
        {'part': f'{method}: peak memory', 'value': memory, 'unit': 'GB'},
    ]


def every_method(repeats: int) -> list[dict[str, Any]]:
    """Measure every method in a process of its own, for its memory."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for method in PASSES:
            path = Path(folder) / f'{method}.json'
            words = ['train-step', '--method', method, '--frames', str(repeats), '--json', str(path)]
            subprocess.run(
                [sys.executable, str(ROOT / 'tools' / 'bench.py'), *words], check=True, stdout=subprocess.DEVNULL
            )
            rows += read_json(path)['rows']
    return rows


def build(run: Config) -> Any:
    """Build the model of a run, with weights that are random but the same for every method."""
    from mmdet3d.registry import MODELS

    torch.manual_seed(0)
    model = MODELS.build(run.model)
    model.init_weights()
    return model.train()


def clouds(method: str) -> Mapping[str, Any]:
    """Return a batch: two labelled frames, or one and the two views of an unlabelled one."""
    points = scan()
    other = points[::2].contiguous()
    if method == 'supervised':
        return {'inputs': {'points': [points, other]}, 'data_samples': [sample(CARS), sample(CARS)]}
    if method == 'hssda':
        unlabelled = sample([])
        unlabelled.gt_instances_3d.weights = torch.zeros(0)
        unlabelled.set_metainfo({'frame_id': '000000'})
        return {
            'labelled': {'inputs': {'points': [points]}, 'data_samples': [sample(CARS)]},
            'unlabelled': {'inputs': {'points': [other]}, 'data_samples': [unlabelled]},
        }
    batch = {
        name: {'inputs': {'points': [cloud]}, 'data_samples': [sample(CARS)]}
        for name, cloud in (('labelled', points), ('teacher', other), ('student', other))
    }
    if method != 'nal':
        for name in ('teacher', 'student'):
            del batch[name]['data_samples'][0].gt_instances_3d
    return batch


def timed_step(model: Any, batch: Any) -> float:
    """Return the seconds of one forward and backward pass."""
    start = time.perf_counter()
    losses = model(**model.data_preprocessor(_copied(batch), True), mode='loss')
    model.parse_losses(losses)[0].backward()
    seconds = time.perf_counter() - start
    model.zero_grad()
    return seconds


def timed_passes(detector: Any, batch: Any) -> tuple[float, float, float]:
    """Return the seconds of a forward, a backward and a prediction of one frame by the plain detector, half of two."""
    start = time.perf_counter()
    loss = detector.parse_losses(detector(**detector.data_preprocessor(_copied(batch), True), mode='loss'))[0]
    forward = time.perf_counter()
    loss.backward()
    backward = time.perf_counter()
    detector.zero_grad()
    detector.eval()
    with torch.no_grad():
        detector.test_step(_copied(batch))
    predict = time.perf_counter()
    detector.train()
    return (forward - start) / 2, (backward - forward) / 2, (predict - backward) / 2


def _copied(batch: Any) -> Any:
    """Return a batch that a step may change."""
    if 'inputs' not in batch:
        return {name: _copied(branch) for name, branch in batch.items()}
    return {
        'inputs': {'points': list(batch['inputs']['points'])},
        'data_samples': [s.clone() for s in batch['data_samples']],
    }
