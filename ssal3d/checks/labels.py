"""Anchors against what is labelled. Boxes of frames that nobody labelled are not looked at."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from numpy.typing import NDArray

from ssal3d.checks.anchors import anchors_by_class, compare_with_boxes
from ssal3d.checks.experiment import refuse
from ssal3d.checks.finding import Checked, Finding
from ssal3d.checks.subject import Subject
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.log import tell


def check_labels(config: Config, labels: str | Path) -> Checked:
    """Count the labelled boxes that the anchors can learn.

    Args:
        config: The resolved config of the experiment.
        labels: Label state; the data set's annotation file must hold its boxes.

    Returns:
        An error for a class none of whose labelled boxes in range has an anchor, a warning below 90 %.

    Raises:
        UserError: If the data is missing or does not belong to the labels.
    """
    anchors = anchors_by_class(Subject(config.to_dict()))
    if anchors is None:
        return Checked('labelled boxes', 'no anchors to compare them with')
    rows, wrong = compare_with_boxes(anchors, labelled_boxes(config, labels))
    counted = ', '.join(f'{learnt} of {inside} {name}' for name, _, inside, learnt in rows)
    return Checked('labelled boxes', f'with an anchor: {counted}', tuple(wrong))


def labelled_boxes(config: Config, labels: str | Path) -> Mapping[str, NDArray[np.float32]]:
    """Return the ``(N, 7)`` boxes of the labelled frames by class."""
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        view = DATASETS.build(
            dict(type='LabelledView', dataset=dict(config.pool_dataset, pipeline=[]), labels=str(labels))
        )
        frames = [(boxes, names) for _, boxes, names, _ in view.annotated_objects()]
    boxes = np.concatenate([own for own, _ in frames] or [np.empty((0, 7), np.float32)])
    names = np.concatenate([own for _, own in frames] or [np.empty(0, np.str_)])
    return {name: boxes[names == name] for name in view.metainfo['classes']}


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
    outcome = check_labels(config, labels)
    tell(f'{outcome.name}: {outcome.looked_at}', terminal=False)
    findings: list[Finding] = list(outcome.findings)
    for finding in findings:
        tell(str(finding), logging.ERROR if finding.severity == 'error' else logging.WARNING)
    refuse(findings)
