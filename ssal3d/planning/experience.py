"""What experiments say about learning and labelling: points of the learning curve, and the time that people took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import read_json
from ssal3d.journal_steps import NAME, read_steps
from ssal3d.report.work_dirs import refuse_twice, val_set
from ssal3d.typed import check_fields, is_finite

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
        digest: Of what the step read; two experiments that share it have one detector. None if the journal has none.
        val_set: What tells its val set from others; None where the training did not write it down.
    """

    work_dir: Path
    stage: str
    boxes: int
    value: float
    digest: str | None = None
    val_set: str | None = None


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


class _Entry(TypedDict):
    """What a plan takes from a step of a journal."""

    labels: str
    spent_per_class: Mapping[str, int]
    metrics: Mapping[str, Any] | None


class _Import(TypedDict):
    """What a plan takes from the report of an import."""

    cost: Mapping[str, int]
    seconds: float | None


def curve_points(
    folders: Sequence[Path], stage: str, metric: str | None = None, class_name: str = 'mean'
) -> list[Point]:
    """Return the points of one learning curve over several experiments, each detector once.

    Args:
        folders: Work dirs.
        stage: Name of the stage.
        metric: See `points_of`.
        class_name: See `points_of`.

    Raises:
        UserError: As `points_of`, if a folder is named twice, no experiment trained such a stage, or val sets differ.
    """
    refuse_twice(folders)
    known = list(dict.fromkeys(name for folder in folders for name in stages_of(folder)))
    if known and stage not in known:
        raise unknown_name('stage', stage, known)
    points: list[Point] = []
    seen: set[str] = set()
    for point in (point for folder in folders for point in points_of(folder, stage, metric, class_name)):
        if point.digest is not None and point.digest in seen:  # taken over from another experiment: one detector
            continue
        if point.digest is not None:
            seen.add(point.digest)
        points.append(point)
    measured = [point for point in points if point.val_set is not None]
    for point in measured[1:]:
        if point.val_set != measured[0].val_set:
            raise UserError(
                f'{point.work_dir}: step {point.stage} was measured on another val set than {measured[0].stage} of '
                f'{measured[0].work_dir}, expected one val set; name work dirs that share it'
            )
    return points


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
    for step in _steps(folder):
        if 'spent_per_class' in step:
            if 'labels' not in step:
                raise UserError(f"{folder / NAME}: step {step['step']} has no 'labels'; restore the file")
            labels = LabelState.read(folder / step['labels'])
        elif step.get('metrics') and step['step'].rpartition('/')[2] == stage and labels is not None:
            value = _value(step['metrics'], metric, class_name, f'{folder}: step {step["step"]}')
            boxes, val = sum(labels.counts.values()), val_set(folder, step['step'])
            points.append(Point(folder, step['step'], boxes, value, step.get('digest'), val))
    return points


def stages_of(folder: Path) -> list[str]:
    """Return the names of the stages that an experiment trained, the most frequent first."""
    steps = _steps(folder)
    names = [step['step'].rpartition('/')[2] for step in steps if step.get('metrics')]
    return sorted(dict.fromkeys(names), key=lambda name: -names.count(name))


def effort_of(folders: Sequence[Path]) -> Effort:
    """Return what people did in the rounds of experiments, from ``labels/round_*_import.json``."""
    edits: dict[str, int] = {}
    boxes, seconds = 0, 0.0
    for folder in folders:
        for path in sorted((folder / 'labels').glob('round_*_import.json')):
            report = read_json(path, required=('cost',), holds=_Import)
            for name, count in report['cost'].items():
                edits[name] = edits.get(name, 0) + int(count)
            if report.get('seconds'):
                seconds += float(report['seconds'])
                boxes += sum(int(report['cost'].get(name, 0)) for name in PRICED)
    return Effort(boxes, seconds or None, edits)


def _steps(folder: Path) -> list[dict[str, Any]]:
    """Return the steps of an experiment's journal, checked as far as a plan reads them."""
    steps = read_steps(folder / NAME)
    for number, step in enumerate(steps, 1):
        check_fields(_Entry, step, f'{folder / NAME}: step {number}')
    return steps


def _value(metrics: Mapping[str, Any], metric: str | None, class_name: str, where: str) -> float:
    flat = {key.rpartition('/')[2]: value for key, value in metrics.items()}
    ends = METRICS if metric is None else (metric,)
    for end in ends:
        if f'{class_name}_{end}' in flat:
            found = flat[f'{class_name}_{end}']
            if not is_finite(found):
                raise UserError(f'{where}: {class_name}_{end} is {found!r:.40}, expected a number; restore {NAME}')
            return float(found)
    metric_names = sorted(flat)
    raise UserError(
        f'{where} has no metric {class_name}_{ends[0]}; expected --metric and --class of one of {", ".join(metric_names[:8])}, ...'
    )
