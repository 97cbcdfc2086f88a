"""Anchors and voxels against what is labelled. Frames that nobody labelled are not looked at."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from numpy.typing import NDArray

from ssal3d.checks.anchors import anchors_by_class, compare_with_boxes
from ssal3d.checks.experiment import refuse
from ssal3d.checks.finding import Checked
from ssal3d.checks.points import Frame, check_points
from ssal3d.checks.subject import Subject
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.log import tell

FRAMES = 100  # whose points are looked at

_Objects = tuple[NDArray[np.float32], NDArray[np.str_]]  # boxes and class names of a frame


def check_labels(config: Config, labels: str | Path) -> list[Checked]:
    """Count the labelled boxes that the anchors can learn, and the points of theirs that the voxels keep.

    Args:
        config: The resolved config of the experiment.
        labels: Label state; the data set's annotation file must hold its boxes.

    Returns:
        An error for a class none of whose labelled boxes in range has an anchor, a warning below 90 %; a warning for a
        class whose objects lose many points.

    Raises:
        UserError: If the data is missing or does not belong to the labels.
    """
    subject, view = Subject(config.to_dict()), _labelled(config, labels)
    objects = [(boxes, names) for _, boxes, names, _ in view.annotated_objects()]
    return [_with_an_anchor(subject, objects), check_points(subject, _some_frames(view, objects))]


def _with_an_anchor(subject: Subject, objects: Sequence[_Objects]) -> Checked:
    anchors = anchors_by_class(subject)
    if anchors is None:
        return Checked('labelled boxes', 'no anchors to compare them with')
    boxes = np.concatenate([own for own, _ in objects] or [np.empty((0, 7), np.float32)])
    names = np.concatenate([own for _, own in objects] or [np.empty(0, np.str_)])
    rows, wrong = compare_with_boxes(anchors, {name: boxes[names == name] for name in subject.classes})
    counted = ', '.join(f'{learnt} of {inside} {name}' for name, _, inside, learnt in rows)
    return Checked('labelled boxes', f'with an anchor: {counted}', tuple(wrong))


def _some_frames(view: Any, objects: Sequence[_Objects]) -> Iterator[Frame]:
    """Yield up to `FRAMES` labelled frames with their points, evenly spread."""
    if not view.pipeline.transforms:
        return  # points come another way
    for index in np.unique(np.linspace(0, len(objects) - 1, min(FRAMES, len(objects))).astype(int)).tolist():
        yield view[index]['points'].tensor.numpy(), *objects[index]


def _labelled(config: Config, labels: str | Path) -> Any:
    """Return the labelled frames; their samples have the points that the detector learns from, before augmentation."""
    loading = [step for step in config.get('labelled_pipeline', ()) if 'LoadPoints' in str(step['type'])]
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        data = dict(config.pool_dataset, pipeline=loading)
        return DATASETS.build(dict(type='LabelledView', dataset=data, labels=str(labels)))


def refuse_labels(config: Config, labels: str | Path) -> None:
    """Stop before the first stage if the detector cannot learn what was labelled.

    Args:
        config: The resolved config of the experiment.
        labels: Label state.

    Raises:
        UserError: If nothing is labelled, or a class has no labelled box with an anchor.
    """
    if not LabelState.read(labels).frames:
        raise UserError(
            f'{labels}: found no labelled frame, expected at least one to train on; raise train_cfg.initial.query.budget or '
            'give train_cfg.initial.labels'
        )
    outcomes = check_labels(config, labels)
    for outcome in outcomes:
        tell(f'{outcome.name}: {outcome.looked_at}', terminal=False)
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    for finding in findings:
        tell(str(finding), logging.ERROR if finding.severity == 'error' else logging.WARNING)
    refuse(findings)
