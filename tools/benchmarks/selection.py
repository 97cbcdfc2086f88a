"""A query on a synthetic pool: the whole command ``al_select.py`` and its parts, for any sampler.

By default CAL with two models: up to 5,000 frames KITTI's budget of 150 boxes with 256 features per box; above: Waymo's
budget of 5,000; above 50,000 frames with 64 features. With ``--sampler`` 468 boxes, about 100 frames, are bought up to
5,000 frames, as the frame-native methods do it: 100 frames are labelled, a frame has 128 RoIs with 256 features and
gradients as long as the published ones. Frames hold 12 predicted and about 5 annotated boxes. Times are the best of
three: of the parts CPU time, of a process that on the clock from its start. ``--all`` measures every sampler.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benchmarks._clock import timed
from mmengine.config import Config

from ssal3d.active import ActiveSampler, QuerySettings, select
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.fileio import read_json, write_json
from ssal3d.predictions import PoolPredictions, read_predictions
from ssal3d.predictions.synthetic import CLASSES, annotated_boxes, second_model, synthetic_pool, write_predictions
from ssal3d.registry import ACTIVE_SAMPLERS

DEFAULT_FRAMES = 3612
REPEATS = 3
LABELLED = 100  # frames
COMMAND = Path(__file__).resolve().parents[1] / 'al_select.py'
CONFIGS = COMMAND.parents[1] / 'configs' / 'active'
LIMITS = {'crb': 8.0, 'kecor': 3.0, 'coreset': 4.0, 'badge': 4.0}  # s of selection at KITTI's size; others: 1
GRADIENTS = {'crb': 65_536, 'badge': 9_216}  # of the second shared layer and of the RPN's classification layer

STARTER = """
import json, os, sys, time
start = time.perf_counter()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(process, 0)
print(json.dumps([status, time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20]))
"""


class Process(NamedTuple):
    """What a finished process took."""

    seconds: float
    cpu: float
    gigabytes: float


class Scale(NamedTuple):
    """Size of a benchmark.

    Attributes:
        budget: Boxes to buy.
        width: Features per box and RoI.
        rois: RoIs per frame.
        gradient: Length of gradients.
        labelled: Labelled frames.
    """

    budget: int
    width: int
    rois: int
    gradient: int
    labelled: int


def run(frames: int, sampler: str | None = None, all: bool = False) -> list[dict[str, Any]]:
    """Time one sampler on a pool of ``frames`` frames, or every sampler.

    Args:
        frames: Size of the pool.
        sampler: Name of a config in ``configs/active`` without its data set; CAL if not given.
        all: Measure each sampler in turn, in processes of their own, and return one row each for the docs.
    """
    if all:
        return [row for name in names() for row in summary(name, frames)]
    name = sampler or 'cal'
    if name not in names():
        raise UserError(f'--sampler: found {name!r}, expected one of {", ".join(names())}')
    small = frames <= 5000
    scale = Scale(
        budget=(468 if sampler else 150) if small else 5000,
        width=256 if frames <= 50_000 else 64,
        rois=128 if small else 1,
        gradient=GRADIENTS.get(name, 4096) if small else 64,
        labelled=LABELLED if sampler else 0,
    )
    limit = (LIMITS.get(name, 1.0) if small else 60.0) if sampler else None
    whole_limit = None if sampler else 4 if small else 15 if frames <= 50_000 else 60
    build = Config.fromfile(CONFIGS / f'{name}_kitti.py').active_sampler.to_dict()
    instance: ActiveSampler = ACTIVE_SAMPLERS.build(build)
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        inputs = write_inputs(folder, frames, instance, scale)
        query = _words(folder, name, inputs, scale)
        whole = [run_process(query) for _ in range(REPEATS)]
        start_up = min(run_process([str(COMMAND), '--help']).seconds for _ in range(REPEATS))
        return [
            row('start-up', start_up),
            *time_parts(folder, instance, scale.budget, limit),
            row('whole command', min(process.seconds for process in whole), at_most=whole_limit),
            row(
                'of that on the CPU',
                min(process.cpu for process in whole),
                at_most=0.8 if scale.budget == 150 else None,
            ),
            row('peak memory', max(process.gigabytes for process in whole), 'GB', at_most=3),
        ]


def command(folder: Path, name: str, frames: int, scale: Scale) -> list[str]:
    """Write the inputs of a sampler and return the command that reads them."""
    instance = ACTIVE_SAMPLERS.build(Config.fromfile(CONFIGS / f'{name}_kitti.py').active_sampler.to_dict())
    return _words(folder, name, write_inputs(folder, frames, instance, scale), scale)


def _words(folder: Path, name: str, inputs: list[str], scale: Scale) -> list[str]:
    return [
        *(str(COMMAND), str(CONFIGS / f'{name}_kitti.py'), *inputs, '--budget', str(scale.budget)),
        *('--out', str(folder / 'query.json'), '--force'),
    ]


def names() -> list[str]:
    """Return the samplers that have a config."""
    return sorted(path.stem.removesuffix('_kitti') for path in CONFIGS.glob('*_kitti.py'))


def summary(name: str, frames: int) -> list[dict[str, Any]]:
    """Measure one sampler in a process of its own and return what stands in the docs."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / 'rows.json'
        bench = str(COMMAND.with_name('bench.py'))
        run_process([bench, 'selection', '--sampler', name, '--frames', str(frames), '--json', str(result)])
        wanted = ('reading', 'selecting', 'whole command', 'peak memory', 'frames selected')
        rows = read_json(result)['rows']
    return [{**entry, 'part': f'{name}: {entry["part"]}'} for entry in rows if entry['part'] in wanted]


def row(part: str, value: float, unit: str = 's', at_most: float | None = None) -> dict[str, Any]:
    """Return one line of the result."""
    return {'part': part, 'value': value, 'unit': unit, **({} if at_most is None else {'target': at_most})}


def write_inputs(folder: Path, frames: int, sampler: ActiveSampler, scale: Scale) -> list[str]:
    """Write all files that a sampler reads; return the options that name them."""
    pool = _pool(frames, sampler.required_fields, scale)
    per_part = max(1, 2**28 // (4 * max(1, sum(_width(pool, name) for name in pool.fields))))  # 256 MB or less
    write_predictions(pool, folder / 'query_model', frames_per_part=min(per_part, 1024))
    write_json(folder / 'counts.json', annotated_boxes(pool))
    options = {'predictions': 'query_model', 'annotations': 'counts.json', 'labels': 'labels.json'}
    if sampler.uses_reference:
        write_predictions(second_model(pool, fields=sampler.reference_fields), folder / 'reference_model')
        options['reference-predictions'] = 'reference_model'
    labelled = _labelled(sampler, scale)
    ids = pool.frame_ids.tolist() + labelled.frame_ids.tolist()
    bought = [(frame_id, {'Car': 4}) for frame_id in labelled.frame_ids.tolist()]
    LabelState.empty(CLASSES, 'synthetic', ids).buy(0, bought).write(folder / 'labels.json')
    if sampler.needs_labelled:
        write_predictions(labelled, folder / 'labelled')
        options['labelled-predictions'] = 'labelled'
    return [word for option, name in options.items() for word in (f'--{option}', str(folder / name))]


def _pool(frames: int, fields: tuple[str, ...], scale: Scale, seed: int = 0) -> PoolPredictions:
    return synthetic_pool(
        frames,
        seed=seed,
        fields=fields,
        width=scale.width,
        noise=0.45,
        rois=scale.rois,
        gradient_width=scale.gradient,
    )


def _labelled(sampler: ActiveSampler, scale: Scale) -> PoolPredictions:
    pool = _pool(scale.labelled, sampler.labelled_fields, scale, seed=9)
    return replace(
        pool, frame_ids=np.array([f'labelled-{number:04d}' for number in range(scale.labelled)], dtype=np.str_)
    )


def _width(pool: PoolPredictions, name: str) -> int:
    values = pool.fields[name]
    return values.shape[1] if isinstance(values, np.ndarray) and values.ndim == 2 else 1


def time_parts(folder: Path, sampler: ActiveSampler, budget: int, limit: float | None) -> list[dict[str, Any]]:
    """Time reading, merging and selecting inside this process."""

    def read() -> tuple[PoolPredictions, PoolPredictions | None, PoolPredictions | None]:
        reference, labelled = folder / 'reference_model', folder / 'labelled'
        return (
            read_predictions(folder / 'query_model', sampler.required_fields, stored=sampler.stored_fields),
            read_predictions(reference, sampler.reference_fields) if reference.exists() else None,
            read_predictions(labelled, sampler.labelled_fields, sampler.optional_fields) if labelled.exists() else None,
        )

    reading, (pool, reference, labelled) = timed(read, REPEATS)
    counts = read_json(folder / 'counts.json', schema=False)
    labels = LabelState.read(folder / 'labels.json')
    merging = timed(lambda: sampler.detections(pool, reference), REPEATS)[0] if reference is not None else 0.0
    both, query = timed(
        lambda: select(
            sampler,
            pool,
            labels,
            QuerySettings(budget),
            reference=reference,
            labelled=labelled,
            annotate=counts.__getitem__,
        ),
        REPEATS,
    )
    return [
        row('reading', reading),
        row('merging', merging),
        row('selecting', both - merging, at_most=limit if limit else 1 if budget == 150 else None),
        row('frames selected', len(query.frames), 'frames'),
    ]


def run_process(arguments: list[str]) -> Process:
    """Run Python with arguments and measure the process from start to exit.

    A small process starts it: the memory of the one that starts a process counts as its own until it runs.
    """
    words = [sys.executable, '-c', STARTER, sys.executable, *arguments]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    status, *values = json.loads(done.stdout) if done.stdout else [done.returncode]
    if status:
        raise UserError(f'{arguments[0]} ended with status {status}; run it by hand to see why')
    return Process(*values)
