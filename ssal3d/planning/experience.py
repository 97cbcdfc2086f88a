"""What experiments say about learning and labelling: points of the learning curve, and the time that people took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.fileio import read_json

METRICS = ('3d_R40_moderate', 'centre', '3d')  # ends of the usual metrics' keys, the first that is there
PRICED = ('accepted', 'edited', 'deleted', 'added')


@dataclass(frozen=True)
class Point:
    """A trained detector.

    Attributes:
        work_dir: Its experiment.
        stage: Its step.
        boxes: Labelled boxes that it learnt from.
        value: Its AP in %.
    """

    work_dir: Path
    stage: str
    boxes: int
    value: float


@dataclass(frozen=True)
class Effort:
    """What people did.

    Attributes:
        boxes: Boxes of the batches with recorded times, deleted ones included.
        seconds: Recorded time; None where no tool recorded any.
        edits: All boxes by what was done.
    """

    boxes: int
    seconds: float | None
    edits: Mapping[str, int]


def points_of(folder: Path, stage: str, metric: str | None = None, class_name: str = 'mean') -> list[Point]:
    """Return the points of an experiment's learning curve: one for each round that trained a stage of this name.

    Args:
        folder: A work dir.
        stage: Name of the stage, e.g. ``'normal'``; stages of other names learn differently and are left out.
        metric: End of the metric's key, e.g. ``'3d_R40_moderate'``; by default the first of `METRICS` that is there.
        class_name: A class, or ``'mean'``.

    Raises:
        UserError: If there is no experiment, or no such metric in it.
    """
    labels: LabelState | None = None
    points = []
    for step in read_json(folder / 'journal.json', required=('steps',))['steps']:
        if 'spent_per_class' in step:
            labels = LabelState.read(folder / step['labels'])
        elif step.get('metrics') and step['step'].rpartition('/')[2] == stage and labels is not None:
            value = _value(step['metrics'], metric, class_name, f'{folder}: step {step["step"]}')
            points.append(Point(folder, step['step'], sum(labels.counts.values()), value))
    return points


def stages_of(folder: Path) -> list[str]:
    """Return the names of the stages that an experiment trained, the most frequent first."""
    steps = read_json(folder / 'journal.json', required=('steps',))['steps']
    names = [step['step'].rpartition('/')[2] for step in steps if step.get('metrics')]
    return sorted(dict.fromkeys(names), key=lambda name: -names.count(name))


def effort_of(folders: Sequence[Path]) -> Effort:
    """Return what people did in the rounds of experiments, from ``labels/round_*_import.json``."""
    edits: dict[str, int] = {}
    boxes, seconds = 0, 0.0
    for folder in folders:
        for path in sorted((folder / 'labels').glob('round_*_import.json')):
            report = read_json(path, required=('cost',))
            for name, count in report['cost'].items():
                edits[name] = edits.get(name, 0) + int(count)
            if report.get('seconds'):
                seconds += float(report['seconds'])
                boxes += sum(int(report['cost'].get(name, 0)) for name in PRICED)
    return Effort(boxes, seconds or None, edits)


def _value(metrics: Mapping[str, Any], metric: str | None, class_name: str, where: str) -> float:
    flat = {key.rpartition('/')[2]: value for key, value in metrics.items()}
    ends = METRICS if metric is None else (metric,)
    for end in ends:
        if f'{class_name}_{end}' in flat:
            return float(flat[f'{class_name}_{end}'])
    metric_names = sorted(flat)
    raise UserError(
        f'{where} has no metric {class_name}_{ends[0]}; expected --metric and --class of one of {", ".join(metric_names[:8])}, ...'
    )
