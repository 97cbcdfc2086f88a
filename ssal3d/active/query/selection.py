"""Which frames to label next: a sampler, a pool of predictions and a budget make a `Query`.

Used by ``ssal3d select`` and by the active-learning loop; needs no files, no models and no MMDetection3D.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ssal3d.active.detections import Detections
from ssal3d.active.query.budget import STOP_RULES, Shopping, walk
from ssal3d.active.query.dontcare import Regions, drop_excluded
from ssal3d.active.query.query_file import Query, SelectedFrame
from ssal3d.active.sampler import ActiveSampler, QueryContext
from ssal3d.class_names import class_index
from ssal3d.data.label_state import LabelState, pool_digest
from ssal3d.errors import UserError
from ssal3d.options import one_of
from ssal3d.predictions import PoolPredictions

__all__ = ['Query', 'SelectedFrame', 'pool_of_ids', 'select']

Annotate = Callable[[str], Mapping[str, int]]
Warn = Callable[[str], None]


def select(
    sampler: ActiveSampler,
    pool: PoolPredictions,
    labels: LabelState,
    *,
    budget: int,
    seed: int = 0,
    reference: PoolPredictions | None = None,
    labelled: PoolPredictions | None = None,
    dontcare: Regions | None = None,
    annotate: Annotate | None = None,
    stop_rule: str = 'include_crossing',
    empty_cost: int = 0,
    round_number: int | None = None,
) -> Query:
    """Select frames until the budget of boxes is spent.

    The same arguments give the same query, whatever the number of threads.

    Args:
        sampler: Says in which order to buy.
        pool: Predictions of the query model, or `pool_of_ids`; frames that are labelled already are skipped.
        labels: What is labelled already.
        budget: Boxes to buy.
        seed: Seed of the query.
        reference: Predictions of a second model for all unlabelled frames of ``pool``.
        labelled: Predictions of the query model for the labelled frames, for samplers that need them.
        dontcare: DontCare rectangles by frame id; without them the sampler's DontCare rule is off.
        annotate: Reveals the boxes of a frame by class name. Called once per bought frame, in the order of purchase,
            and never for another frame (with 'exclude_crossing': for one more). Without it the budget is counted in
            the predicted boxes of the sampler's reliable set.
        stop_rule: See `ssal3d.active.query.budget.walk`.
        empty_cost: Cost of a frame without boxes.
        round_number: Number of the query; by default one more than the last round in ``labels``, 0 when it is empty.

    Raises:
        UserError: If the predictions do not fit each other, the label state or the sampler, or a number is out of
            range; the message names the frame or class.
    """
    one_of('stop_rule', stop_rule, STOP_RULES)
    for name, number in (('budget', budget), ('seed', seed), ('empty_cost', empty_cost)):
        _check_whole(name, number)
    warnings: list[str] = []
    warn = warnings.append
    _check_inputs(sampler, pool, reference, labelled, annotate, warn)
    reference = reference if sampler.uses_reference else None
    labelled = labelled if sampler.needs_labelled else None
    with threadpool_limits(1):  # the products here are small: threads would wait for each other
        candidates = unlabelled_part(pool, labels, warn)
        reference = aligned_reference(reference, candidates, warn) if reference is not None else None
        detections = sampler.detections(candidates, reference)
        kept = drop_excluded(sampler.dontcare, candidates, detections, dontcare, warn)
        candidates, detections = candidates.take(kept), detections.take(kept)
        context = QueryContext(
            classes=pool.classes,
            budget=budget,
            seed=seed,
            detections=detections,
            labelled_counts=labelled_counts(labels, pool.classes),
            frames_estimate=frames_estimate(budget, labels, detections),
            reference=None if reference is None else reference.take(kept),
            labelled=labelled_part(labelled, labels) if labelled is not None else None,
            charged='predicted' if annotate is None else 'annotated',
            warn=warn,
        )
        predicted = detections.count(detections.reliable)
        reveal = predicted.__getitem__ if annotate is None else _revealer(annotate, candidates)
        order = sampler.order(candidates, context)
        shopping = walk(order, reveal, context.notify, budget, stop_rule, empty_cost)
    _report(shopping, candidates, budget, warn)
    spent = sum((purchase.boxes for purchase in shopping.purchases), np.zeros(len(pool.classes), dtype=np.int64))
    return Query(
        round=_next_round(labels) if round_number is None else round_number,
        sampler=sampler.config,
        seed=seed,
        budget=budget,
        stop_rule=stop_rule,
        empty_cost=empty_cost,
        spent=shopping.spent,
        spent_per_class=_by_class(spent, pool.classes),
        cost=context.charged,
        stopped=shopping.stopped,
        pool={'name': labels.pool_name, 'size': labels.pool_size, 'sha256': labels.pool_sha256},
        frames=_selected(shopping, candidates, predicted, context.charged),
        warnings=tuple(warnings),
    )


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


def _check_whole(name: str, number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise UserError(f'{name}: found {number!r}, expected a whole number >= 0')


def _check_inputs(
    sampler: ActiveSampler,
    pool: PoolPredictions,
    reference: PoolPredictions | None,
    labelled: PoolPredictions | None,
    annotate: Annotate | None,
    warn: Warn,
) -> None:
    name = type(sampler).__name__
    if pool.metadata.get('ids_only') and annotate is None:
        raise UserError(f'{pool.source}: without predictions the cost of a frame is unknown; give annotated counts')
    if sampler.needs_reference and reference is None:
        raise UserError(f'{name} needs the predictions of a second model; give --reference-predictions')
    if sampler.needs_labelled and labelled is None:
        raise UserError(f'{name} needs predictions for the labelled frames; give --labelled-predictions')
    if reference is not None and not sampler.uses_reference:
        warn(f'{name} does not use reference predictions; they were ignored')
    if labelled is not None and not sampler.needs_labelled:
        warn(f'{name} does not use labelled predictions; they were ignored')


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


def _rows_of(predictions: PoolPredictions, frame_ids: list[str], remedy: str) -> PoolPredictions:
    """Return the rows of some frames, given by ascending ids."""
    position = predictions.index()
    missing = [frame_id for frame_id in frame_ids if frame_id not in position]
    if missing:
        raise UserError(f'{predictions.source}: frame {missing[0]} is missing ({len(missing)} frames are); {remedy}')
    return predictions.take(np.array([position[frame_id] for frame_id in frame_ids], dtype=np.int64))


def _revealer(annotate: Annotate, pool: PoolPredictions) -> Callable[[int], NDArray[np.int64]]:
    """Return a function that asks the annotator for one frame and gives its ``(C,)`` boxes."""

    def reveal(frame: int) -> NDArray[np.int64]:
        boxes, frame_id = np.zeros(len(pool.classes), dtype=np.int64), str(pool.frame_ids[frame])
        for name, count in annotate(frame_id).items():
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise UserError(f"annotations: frame {frame_id} has {count!r} boxes of '{name}', expected 0 or more")
            boxes[class_index(name, pool.classes, f'the annotations of frame {frame_id}')] += count
        return boxes

    return reveal


def _report(shopping: Shopping, pool: PoolPredictions, budget: int, warn: Warn) -> None:
    relaxed = [purchase.candidate.relax_level for purchase in shopping.purchases if purchase.candidate.relax_level]
    if relaxed:
        warn(f'{len(relaxed)} frames passed only relaxed limits (up to level {max(relaxed)})')
    if shopping.refused is not None:
        warn(f'exclude_crossing looked at the boxes of frame {pool.frame_ids[shopping.refused]} before refusing it')
    if shopping.stopped == 'pool_exhausted':
        warn(f'the pool ran out after {len(shopping.purchases)} frames: {shopping.spent} of {budget} boxes spent')


def _selected(
    shopping: Shopping, pool: PoolPredictions, predicted: NDArray[np.int64], charged: str
) -> tuple[SelectedFrame, ...]:
    """Describe the bought frames; an infinite utility (no boxes to judge) becomes None."""
    return tuple(
        SelectedFrame(
            frame_id=str(pool.frame_ids[candidate.frame]),
            utility=candidate.utility if candidate.utility is not None and np.isfinite(candidate.utility) else None,
            similarity=candidate.similarity,
            predicted_boxes=_by_class(predicted[candidate.frame], pool.classes),
            annotated_boxes=_by_class(boxes, pool.classes) if charged == 'annotated' else None,
            relax_level=candidate.relax_level,
        )
        for candidate, boxes in shopping.purchases
    )


def _by_class(boxes: NDArray[np.integer], classes: Sequence[str]) -> dict[str, int]:
    return {name: int(count) for name, count in zip(classes, boxes)}


def _next_round(labels: LabelState) -> int:
    return max((frame.round for frame in labels.frames), default=-1) + 1
