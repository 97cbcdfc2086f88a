"""Numbers of finished experiments: one line per row, seed and class, in a CSV that grows."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
from mmengine.config import Config

from ssal3d.errors import UserError
from ssal3d.evaluation.annotated_boxes import read_annotated_boxes
from ssal3d.evaluation.calibration_report import MEAN, evaluate_calibration
from ssal3d.fileio import atomic_open, read_json, read_text
from ssal3d.loop.card import NAME as CARD
from ssal3d.loop.journal import Journal
from ssal3d.loop.summary import METRICS
from ssal3d.predictions import read_predictions
from ssal3d.reproduce.experiments import PRETRAIN, Experiment, is_finished
from ssal3d.reproduce.rows import NO_FINAL

# The paper's names, by those of the metrics.
SHORT = {'Car': 'Car', 'Pedestrian': 'Ped', 'Cyclist': 'Cyc'}
WAYMO_SHORT = {'VEHICLE': 'Veh', 'PEDESTRIAN': 'Ped', 'CYCLIST': 'Cyc', 'mean': 'Avg'}
CALIBRATION_SHORT = {'Car': 'Veh', 'Pedestrian': 'Ped', 'Cyclist': 'Cyc'}
DIFFICULTIES = {'easy': 'easy', 'moderate': 'mod', 'hard': 'hard'}
KINDS = {'3d': '', 'bev': '_BEV'}  # the paper prints 3D
RANGES = {'': '', '_0-30m': '0-30m_', '_30-50m': '30-50m_'}  # mark of a metric, part of its key; the paper prints all


class _Card(TypedDict, total=False):
    """What is read of an experiment's card."""

    versions: Mapping[str, str]
    machine: str


class Result(NamedTuple):
    """One number of one run.

    Attributes:
        dataset: Name of a `DataSet`.
        experiment: Name of the experiment, e.g. ``'CPSP-CAL-CPSP'``.
        seed: Its seed.
        metric: As the paper's tables have it, e.g. ``'Ped_mod_mAP'``, ``'Ped_L2_mAP'`` or ``'Ped_D-ECE'``;
            ``'Ped_mod_BEV_mAP'`` for bird's-eye view, ``'Ped_L2_0-30m_mAP'`` by range, ``'Ped_L2_mAP_round_1'`` of the
            final model after a round, ``'Ped_mod_mAP_held_out'`` on the frames that nobody labelled;
            ``'Ped_0.3-0.5_precision'`` of Fig. 7; ``'frames'``, ``'boxes'``,
            ``'boxes_Car'``, ... for what was labelled.
        value: %, a count, or a share.
        version: Version and commit of ssal3d that trained it; several, where its steps have several.
        machine: What it ran on.
    """

    dataset: str
    experiment: str
    seed: int
    metric: str
    value: float
    version: str
    machine: str


def collect(dataset: str, experiments: Iterable[Experiment]) -> list[Result]:
    """Read the results of those experiments that are finished.

    Args:
        dataset: Name of a `DataSet`.
        experiments: Rows of a table with one seed each.
    """
    return [
        Result(dataset, experiment.row.experiment, experiment.seed, metric, value, *about)
        for experiment in dict.fromkeys(experiments)
        if is_finished(experiment)
        for about in [trained_with(experiment)]
        for metric, value in measured(experiment).items()
    ]


def trained_with(experiment: Experiment) -> tuple[str, str]:
    """Return with which versions, and on which machine, an experiment ran.

    The journal names the version of each step, also of those that were taken over; the card that of the last start,
    which counts for steps that were recorded before they named it.
    """
    card = read_json(experiment.folder / CARD, required=('versions',), holds=_Card)
    last = card['versions'].get('ssal3d', '')
    versions = dict.fromkeys(step.get('version') or last for step in Journal(experiment.folder).steps)
    return ' '.join(versions) or last, card.get('machine', '')


def measured(experiment: Experiment) -> dict[str, float]:
    """Return what a finished experiment measured of its final or pre-trained model, and what it labelled."""
    content = read_json(experiment.folder / METRICS)
    last = list(experiment.steps.values())[-1]
    if experiment.row.final == NO_FINAL:
        found = measured_calibration(experiment)
    else:
        found = average_precisions(content['stages'][last])
    curve = [point for point in content.get('curve', ()) if point['model'].endswith(f'/{last.partition("/")[2]}')]
    for number, point in enumerate(curve, start=1):
        found |= {f'{name}_round_{number}': value for name, value in average_precisions(point['metrics']).items()}
        found[f'boxes_round_{number}'] = point['boxes']
    if last in content.get('held_out', {}):
        found |= {f'{name}_held_out': value for name, value in average_precisions(content['held_out'][last]).items()}
    counts, frames = content['labelled']['boxes'], content['labelled']['frames']
    if experiment.row.final == NO_FINAL:  # what the pre-trained model has learnt from
        counts, frames = (content['purchases']['initial'][key] for key in ('spent_per_class', 'frames'))
    found |= {'frames': frames, 'boxes': sum(counts.values())}
    return found | {f'boxes_{name}': count for name, count in counts.items()}


def average_precisions(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return AP in % by the paper's names of the numbers.

    Args:
        metrics: What a stage measured, of `KittiAPMetric` or `WaymoAPMetric`. A class of which nothing is annotated has
            no AP in them, so it has none here, and there is no mean.
    """
    flat = {key.rpartition('/')[2]: value for key, value in metrics.items()}
    if any(key.startswith('waymo/') for key in metrics):
        return {
            f'{short}_{level}{mark}_m{measure}': 100 * flat[key]
            for name, short in WAYMO_SHORT.items()
            for mark, range_ in RANGES.items()
            for level in ('L1', 'L2')
            for measure in ('AP', 'APH')
            if (key := f'{name}_{range_}{level}_{measure}') in flat  # not where nothing is annotated
        }
    found: dict[str, float] = {}
    for kind, mark in KINDS.items():
        for difficulty, short in DIFFICULTIES.items():
            keys = {name: f'{name}_{kind}_R40_{difficulty}' for name in SHORT}
            values = {name: flat[key] for name, key in keys.items() if key in flat}
            found |= {f'{SHORT[name]}_{short}{mark}_mAP': value for name, value in values.items()}
            if len(values) == len(SHORT):
                found[f'Avg_{short}{mark}_mAP'] = float(np.mean(list(values.values())))
    return found


def measured_calibration(experiment: Experiment) -> dict[str, float]:
    """Return D-ECE and Fig. 7's numbers of the model that the query sees, on the frames that were not labelled then.

    Args:
        experiment: A finished experiment.
    """
    by_class = calibration(experiment)
    results = {}
    for name, short in {**CALIBRATION_SHORT, MEAN: 'Avg'}.items():
        if by_class[name]['d_ece'] is not None:
            results[f'{short}_D-ECE'] = by_class[name]['d_ece']
        for range_, figures in by_class[name].get('fig7', {}).items():
            results |= {f'{short}_{range_}_{key}': value for key, value in figures.items() if value is not None}
    return results


def calibration(experiment: Experiment) -> dict[str, Any]:
    """Return what `evaluate_calibration` says of the model that the first query sees, by class.

    Args:
        experiment: A finished experiment.
    """
    stage = PRETRAIN[experiment.row.pretrain][-1]
    pool = read_predictions(experiment.folder / 'round_1' / f'predictions_{stage}')
    data = Config.fromfile(experiment.folder / 'round_1' / stage / 'config.py').pool_dataset
    truth = read_annotated_boxes(Path(data.data_root) / data.ann_file, pool.frame_ids.tolist(), pool.classes)
    return evaluate_calibration({stage: pool}, truth)['methods'][stage]


def merge(path: Path, results: Sequence[Result]) -> list[Result]:
    """Put results into a CSV file; a run that is there already is replaced. Without results nothing is written.

    Args:
        path: The file; it need not exist.
        results: New results.

    Returns:
        Everything that the file holds now.
    """
    if not results:
        return read(path)
    new = {(result.dataset, result.experiment, result.seed) for result in results}
    old = [result for result in read(path) if (result.dataset, result.experiment, result.seed) not in new]
    rows = sorted([*old, *results], key=lambda row: row[:3])
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path, 'w') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(Result._fields)
        writer.writerows([*row[:4], _text(row.value), *row[5:]] for row in rows)
    return rows


def _text(value: float) -> str:
    """Return a count with all of its digits, anything else with four."""
    return f'{value:.0f}' if value == round(value) else f'{value:.4g}'


def read(path: Path) -> list[Result]:
    """Read a CSV file of results; a file that does not exist holds none.

    Raises:
        UserError: If it is no text, lacks a column, or a row is short or holds no number; names file and line.
    """
    if not path.exists():
        return []
    lines = csv.DictReader(io.StringIO(read_text(path), newline=''))
    try:
        for name in Result._fields:
            if name not in (lines.fieldnames or ()):
                raise UserError(f"{path}: the column '{name}' is missing, expected {','.join(Result._fields)}")
        return [_result(row, f'{path}, line {lines.line_num}') for row in lines]
    except csv.Error as error:
        raise UserError(
            f'{path}, line {lines.line_num}: not CSV ({error}); expected what ssal3d reproduce writes'
        ) from None


def _result(row: Mapping[str, str | None], where: str) -> Result:
    fields = {name: row[name] for name in Result._fields}
    short = [name for name, text in fields.items() if text is None]
    if short:
        raise UserError(f"{where}: the row ends before the column '{short[0]}'; complete or remove it")
    texts = {name: text or '' for name, text in fields.items()}
    try:
        seed, value = int(texts['seed']), float(texts['value'])
        if not math.isfinite(value):
            raise ValueError(value)
    except ValueError:
        raise UserError(
            f"{where}: found seed '{texts['seed']}' and value '{texts['value']}', expected a whole number and a number"
        ) from None
    numbers: dict[str, Any] = {'seed': seed, 'value': value}
    return Result(**{**texts, **numbers})
