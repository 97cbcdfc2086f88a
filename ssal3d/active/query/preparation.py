"""Fitting the inputs of a query to each other: unlabelled frames, reference model, label state, DontCare regions."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.detections import Detections
from ssal3d.active.query.dontcare import Regions, frames_to_exclude
from ssal3d.active.sampler import ActiveSampler
from ssal3d.class_names import class_index
from ssal3d.data.label_state import LabelState, pool_digest
from ssal3d.errors import UserError
from ssal3d.predictions import PoolPredictions

Warn = Callable[[str], None]


def unlabelled_part(pool: PoolPredictions, labels: LabelState, warn: Warn) -> PoolPredictions:
    """Return the predictions of the frames that are not labelled yet.

    Warns about skipped frames and about a pool that is not the label state's.
    """
    ids = pool.frame_ids
    names = ids.tolist()
    if not pool.metadata.get('ids_only') and names != sorted(set(names)):
        raise UserError(f'{pool.source}: frames are not ascending by id; order them as read_predictions does')
    labelled = np.isin(ids, np.array(labels.frame_ids, dtype=np.str_)) if labels.frames else np.zeros(len(ids), bool)
    if labelled.any():
        warn(f'{labelled.sum()} frames of the predictions are labelled already; they were skipped')
    known = set(names) | set(labels.frame_ids)
    if len(known) != labels.pool_size or pool_digest(known) != labels.pool_sha256:
        warn(
            f'predictions and labels cover {len(known)} frames, other than the {labels.pool_size} of the pool '
            f"'{labels.pool_name}' that the label state was made for"
        )
    return pool.take(np.flatnonzero(~labelled))


def aligned_reference(reference: PoolPredictions, pool: PoolPredictions, warn: Warn) -> PoolPredictions:
    """Return the reference model's predictions for the pool's frames, in their order and with their class indices.

    Raises:
        UserError: If a frame of the pool or a class is missing.
    """
    for key, remedy in (
        ('nms_iou', 'duplicates would count twice (D-19)'),
        ('score_threshold', 'compare like with like'),
    ):
        ours, theirs = pool.metadata.get(key), reference.metadata.get(key)
        if ours is not None and theirs is not None and ours != theirs:
            warn(f'predictions were made with {key} {ours}, the reference predictions with {theirs}; {remedy}')
    part = _rows_of(reference, pool.frame_ids.tolist(), 'predict the whole pool with both models')
    lookup = [class_index(name, pool.classes, part.source) for name in part.classes]
    return replace(part, labels=np.array(lookup, dtype=np.int16)[part.labels], classes=pool.classes)


def labelled_part(labelled: PoolPredictions, labels: LabelState) -> PoolPredictions:
    """Return the predictions of all labelled frames.

    Raises:
        UserError: If one is missing.
    """
    return _rows_of(labelled, sorted(labels.frame_ids), 'predict every labelled frame')


def labelled_counts(labels: LabelState, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the ``(C,)`` annotated boxes of the labelled frames in the order of ``classes``.

    Raises:
        UserError: If the label state counts a class that the predictions do not have.
    """
    counts = np.zeros(len(classes), dtype=np.int64)
    for name, count in labels.counts.items():
        counts[class_index(name, classes, 'the label state')] += count
    return counts


def frames_estimate(budget: int, labels: LabelState, detections: Detections) -> int:
    """Return how many frames the budget will buy, from boxes per labelled, else per predicted frame (spec 1.5)."""
    boxes, frames = sum(labels.counts.values()), len(labels.frames)
    if not boxes:
        boxes, frames = int(detections.reliable.sum()), len(detections.predictions)
    return math.ceil(budget * frames / boxes) if boxes else frames


def drop_excluded(
    sampler: ActiveSampler, pool: PoolPredictions, detections: Detections, regions: Regions | None, warn: Warn
) -> NDArray[np.int64]:
    """Return the positions of the frames that the sampler's DontCare rule leaves in the pool."""
    if sampler.dontcare == 'none':
        if regions is not None:
            warn("DontCare regions were ignored because the sampler has dontcare='none'")
        return np.arange(len(pool))
    if regions is None:
        warn(f"dontcare='{sampler.dontcare}' is off because no DontCare regions were given")
        return np.arange(len(pool))
    excluded = frames_to_exclude(pool, detections, regions, sampler.dontcare)
    warn(
        f"dontcare='{sampler.dontcare}' excluded {excluded.sum()} of {len(pool)} frames; it reads labels of unlabelled "
        'frames, so compare only with queries that use it, too'
    )
    return np.flatnonzero(~excluded)


def _rows_of(predictions: PoolPredictions, frame_ids: list[str], remedy: str) -> PoolPredictions:
    """Return the rows of some frames, given by ascending ids."""
    position = predictions.index()
    missing = [frame_id for frame_id in frame_ids if frame_id not in position]
    if missing:
        raise UserError(f'{predictions.source}: frame {missing[0]} is missing ({len(missing)} frames are); {remedy}')
    return predictions.take(np.array([position[frame_id] for frame_id in frame_ids], dtype=np.int64))
