"""Which frames may be bought: the unlabelled frames of a pool, and what is known of the labelled ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.sampler import ActiveSampler, Detections
from ssal3d.class_names import ALIASES, class_index
from ssal3d.data.label_state import LabelState, pool_digest
from ssal3d.errors import UserError
from ssal3d.predictions import PoolPredictions
from ssal3d.spelling import canonical

Warn = Callable[[str], None]


def pool_of_ids(frame_ids: Sequence[str], classes: Sequence[str]) -> PoolPredictions:
    """Return a pool without predictions, for samplers that need none; the order of the ids is kept.

    Raises:
        UserError: If an id is there twice.
    """
    seen: set[str] = set()
    for frame_id in frame_ids:
        if frame_id in seen:
            raise UserError(f'pool: frame {frame_id} is listed twice; remove one of the entries')
        seen.add(frame_id)
    return PoolPredictions(
        frame_ids=np.array(frame_ids, dtype=np.str_),
        offsets=np.zeros(len(frame_ids) + 1, dtype=np.int64),
        boxes=np.zeros((0, 7), dtype=np.float32),
        scores=np.zeros(0, dtype=np.float32),
        labels=np.zeros(0, dtype=np.int16),
        classes=tuple(classes),
        metadata={'ids_only': True},
        source='frame ids',
    )


def unlabelled_part(pool: PoolPredictions, labels: LabelState, warn: Warn) -> PoolPredictions:
    """Return the predictions of the frames that are not labelled yet.

    Warns about skipped frames and about a pool that is not the label state's.

    Raises:
        UserError: If frames are not ascending by id, or a labelled frame seems to be there under another spelling.
    """
    ids = pool.frame_ids
    names = ids.tolist()
    if not pool.metadata.get('ids_only') and (ids[1:] <= ids[:-1]).any():
        raise UserError(f'{pool.source}: frames are not ascending by id; order them as read_predictions does')
    check_spelling(names, labels, pool.source)
    labelled = np.isin(ids, np.array(labels.frame_ids, dtype=np.str_)) if labels.frames else np.zeros(len(ids), bool)
    if labelled.any():
        warn(f'{labelled.sum()} frames of the predictions are labelled already; they were skipped')
    known = set(names).union(labels.frame_ids)
    if (
        len(known) != labels.pool_size
        or pool_digest(names if len(known) == len(names) else known) != labels.pool_sha256
    ):
        warn(
            f'predictions and labels cover {len(known)} frames, other than the {labels.pool_size} of the pool '
            f"'{labels.pool_name}' that the label state was made for"
        )
    uncounted = [name for name in pool.classes if not {name, ALIASES.get(name)} & {*labels.classes}]
    if uncounted:
        warn(
            f'the label state counts {", ".join(labels.classes)}, the predictions have {", ".join(uncounted)} as well, whose '
            'boxes are paid for'
        )
    return pool.take(np.flatnonzero(~labelled))


def check_spelling(frame_ids: Sequence[str], labels: LabelState, source: str) -> None:
    """Check that no labelled frame is in the pool under another spelling of its id, where it would be bought again.

    Args:
        frame_ids: Ids of the pool.
        labels: What is labelled.
        source: Where the pool comes from, for the message.

    Raises:
        UserError: If ``'7'`` is labelled and the pool has ``'000007'``, or the like.
    """
    missing = set(labels.frame_ids) - set(frame_ids)
    if not missing:
        return
    spelt = {canonical(frame_id): frame_id for frame_id in frame_ids}
    twins = {frame_id: spelt[name] for frame_id in missing if (name := canonical(frame_id)) in spelt}
    if twins:
        labelled = min(twins)
        raise UserError(
            f"{source}: frame '{twins[labelled]}' is labelled already as '{labelled}' ({len(twins)} frames are spelt "
            "differently in the label state); write one of the files again with the other's ids"
        )


def aligned_reference(reference: PoolPredictions, pool: PoolPredictions, warn: Warn) -> PoolPredictions:
    """Return the reference model's predictions for the pool's frames, in their order and with their class indices.

    Raises:
        UserError: If a frame of the pool or a class is missing.
    """
    for key, remedy in (
        ('nms_iou', 'duplicates would count twice'),
        ('score_threshold', 'compare like with like'),
    ):
        ours, theirs = pool.metadata.get(key), reference.metadata.get(key)
        if ours is not None and theirs is not None and ours != theirs:
            warn(f'predictions were made with {key} {ours}, the reference predictions with {theirs}; {remedy}')
    part = _rows_of(reference, pool.frame_ids.tolist(), 'predict the whole pool with both models')
    return with_classes(part, pool.classes)


def with_classes(predictions: PoolPredictions, classes: tuple[str, ...]) -> PoolPredictions:
    """Return predictions with the class indices of other ones.

    Raises:
        UserError: If one of their classes is not there.
    """
    if predictions.classes == classes:
        return predictions
    lookup = [class_index(name, classes, predictions.source) for name in predictions.classes]
    return replace(predictions, labels=np.array(lookup, dtype=np.int16)[predictions.labels], classes=classes)


def labelled_part(labelled: PoolPredictions, labels: LabelState) -> PoolPredictions:
    """Return the predictions of all labelled frames.

    Raises:
        UserError: If one is missing.
    """
    return _rows_of(labelled, sorted(labels.frame_ids), 'predict every labelled frame')


def labelled_rows(pool: PoolPredictions, labels: LabelState) -> PoolPredictions | None:
    """Return the predictions that a pool has of the labelled frames, None if it lacks one of them."""
    position = pool.index() if labels.frames and not pool.metadata.get('ids_only') else {}
    rows = [position.get(frame_id) for frame_id in labels.frame_ids]
    if not rows or None in rows:
        return None
    return pool.take(np.sort(np.array(rows, dtype=np.int64)))


def labelled_table(
    labels: LabelState, classes: Sequence[str], frame_ids: Sequence[str] | None = None
) -> NDArray[np.int64]:
    """Return the ``(L, C)`` annotated boxes of labelled frames.

    Args:
        labels: What is labelled, with counts by frame.
        classes: Class names that give the order.
        frame_ids: Frames of it that give the order of the rows; by default all in its own order.

    Raises:
        UserError: If the label state counts a class that the predictions do not have.
    """
    if frame_ids is None:
        frames = labels.frames
    else:
        by_id = {frame.frame_id: frame for frame in labels.frames}
        frames = tuple(by_id[frame_id] for frame_id in frame_ids)
    place = {name: class_index(name, classes, 'the label state') for name in labels.classes}
    table = np.zeros((len(frames), len(classes)), dtype=np.int64)
    for row, frame in enumerate(frames):
        for name, count in frame.boxes.items():
            table[row, place[name]] += count
    return table


class Known(NamedTuple):
    """What is known of labelled frames.

    Attributes:
        detections: Detections in them, judged as those of the pool are: by both models where there are two; None if
            there are no predictions of labelled frames by all models.
        counts: ``(L, C)`` their annotated boxes.
    """

    detections: Detections | None
    counts: NDArray[np.int64]


def known_detections(
    sampler: ActiveSampler,
    labels: LabelState,
    labelled: PoolPredictions | None,
    reference: PoolPredictions | None,
    classes: tuple[str, ...],
    warn: Warn,
) -> Known:
    """Return what a sampler believes to be in labelled frames, beside what is there.

    A frame that the second model lacks is left out: all of its boxes would be reliable, those of the pool are not.

    Args:
        sampler: Says what it believes.
        labels: What is labelled.
        labelled: Predictions of labelled frames, and possibly others.
        reference: Predictions of a second model, possibly of these frames; None if there is no second model.
        classes: Class names that give the order.
        warn: Told how many frames the second model lacks.

    Raises:
        UserError: If a class is unknown.
    """
    nothing = Known(None, np.zeros((0, len(classes)), dtype=np.int64))
    if labelled is None:
        return nothing
    judges = sampler.uses_labelled or sampler.needs_labelled
    other = reference if judges else None
    rows = np.flatnonzero(np.isin(labelled.frame_ids, np.array(labels.frame_ids, dtype=np.str_)))
    if other is not None:
        rows = _seen_by_both(labelled, rows, other, warn)
    if not len(rows):
        return nothing
    part = with_classes(labelled.take(rows), classes)
    counts = labelled_table(labels, classes, part.frame_ids.tolist())
    if other is not None:
        other = aligned_reference(other, part, lambda warning: None)
    return Known(sampler.detections(part, other) if judges else Detections.of(part), counts)


def _seen_by_both(
    labelled: PoolPredictions, rows: NDArray[np.int64], reference: PoolPredictions, warn: Warn
) -> NDArray[np.int64]:
    """Return the rows of labelled frames that the second model predicted, too."""
    names = labelled.frame_ids[rows].tolist()
    there = set(names).intersection(reference.frame_ids.tolist())
    kept = rows[[name in there for name in names]]
    if len(kept) < len(rows):
        use = 'only the others tell' if len(kept) else 'nothing tells'
        warn(
            f'{reference.source}: lacks {len(rows) - len(kept)} of the {len(rows)} labelled frames that the query model '
            f'predicted, so {use} which predicted boxes are real; give all of them with --labelled-reference-predictions'
        )
    return kept


def _rows_of(predictions: PoolPredictions, frame_ids: list[str], remedy: str) -> PoolPredictions:
    """Return the rows of some frames, given by ascending ids."""
    if predictions.frame_ids.tolist() == frame_ids:
        return predictions
    position = predictions.index()
    missing = [frame_id for frame_id in frame_ids if frame_id not in position]
    if missing:
        raise UserError(f'{predictions.source}: frame {missing[0]} is missing ({len(missing)} frames are); {remedy}')
    return predictions.take(np.array([position[frame_id] for frame_id in frame_ids], dtype=np.int64))
