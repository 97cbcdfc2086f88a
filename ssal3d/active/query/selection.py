"""Which frames to label next: a sampler, a pool of predictions and the settings of a query make a `Query`.

Used by ``ssal3d select`` and by the active-learning loop; needs no files, no models and no MMDetection3D.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ssal3d.active.query.budget import Acquisition, spend_budget
from ssal3d.active.query.candidates import (
    Known,
    aligned_reference,
    known_detections,
    labelled_part,
    labelled_rows,
    labelled_table,
    pool_of_ids,
    unlabelled_part,
)
from ssal3d.active.query.costs import USUAL, CostScores, cost_scores, estimate
from ssal3d.active.query.dontcare import Regions, drop_excluded
from ssal3d.active.query.query_file import Query, SelectedFrame
from ssal3d.active.query.settings import CALIBRATED, QuerySettings
from ssal3d.active.sampler import ActiveSampler, Candidate, Detections, QueryContext
from ssal3d.class_names import class_index
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.predictions import PoolPredictions

__all__ = ['Query', 'SelectedFrame', 'pool_of_ids', 'select']

Annotate = Callable[[str], Mapping[str, int]]
Warn = Callable[[str], None]


def select(
    sampler: ActiveSampler,
    pool: PoolPredictions,
    labels: LabelState | None,
    settings: QuerySettings,
    *,
    seed: int = 0,
    reference: PoolPredictions | None = None,
    labelled: PoolPredictions | None = None,
    labelled_reference: PoolPredictions | None = None,
    dontcare_regions: Regions | None = None,
    annotate: Annotate | None = None,
    round_number: int | None = None,
) -> Query:
    """Select frames until the budget is spent.

    The same arguments give the same query, whatever the number of threads.

    Args:
        sampler: Says in which order to buy.
        pool: Predictions of the query model, or `pool_of_ids`; frames that are labelled already are skipped.
        labels: What is labelled already; None: nothing.
        settings: Budget, its unit and the other settings of the query.
        seed: Seed of the query.
        reference: Predictions of a second model for all unlabelled frames of ``pool``.
        labelled: Predictions of the query model for the labelled frames; by default those in ``pool``.
        labelled_reference: Predictions of the second model for the labelled frames; by default those in ``reference``.
            A labelled frame that they lack tells nothing, and the query warns.
        dontcare_regions: DontCare rectangles by frame id; without them the query's DontCare rule is off.
        annotate: Reveals the boxes of a frame by class name. Called once per bought frame, in the order of purchase,
            and never for another frame (with 'exclude_crossing': for one more). Without it the budget is counted in
            predicted boxes: reliable ones of the sampler with a score above the query's ``cost_score``.
        round_number: Number of the query; by default one more than the last round in ``labels``, 0 when it is empty.

    Raises:
        UserError: If the predictions do not fit each other, the label state or the sampler, or a number is out of
            range; the message names the frame or class.
    """
    settings.check()
    _check_whole('seed', seed)
    if labels is None:
        labels = LabelState.empty(pool.classes, pool.source, pool.frame_ids.tolist())
    warnings: list[str] = []
    warn = warnings.append
    with threadpool_limits(1):  # the products here are small: threads would wait for each other
        candidates = unlabelled_part(pool, labels, warn)
        given, labelled = labelled, labelled if labelled is not None else labelled_rows(pool, labels)
        reference = _used_reference(sampler, reference, warn)
        if labelled_reference is None or reference is None:
            labelled_reference = reference
        known = known_detections(sampler, labels, labelled, labelled_reference, pool.classes, warn)
        counted = cost_scores(settings.cost_score, pool.classes, known.detections, known.counts.sum(axis=0))
        _check_inputs(sampler, settings, pool, labels, given, labelled, annotate, warn)
        reference = aligned_reference(reference, candidates, warn) if reference is not None else None
        detections = sampler.detections(candidates, reference)
        kept = drop_excluded(settings.dontcare, candidates, detections, dontcare_regions, warn)
        candidates, detections = candidates.take(kept), detections.take(kept)
        predicted = detections.count(detections.reliable & counted.mask(detections.predictions))
        context = _context(
            settings, seed, labels, detections, predicted, known, 'predicted' if annotate is None else 'annotated'
        )
        context.reference = None if reference is None else reference.take(kept)
        if sampler.needs_labelled and labels.frames and labelled is not None:
            context.labelled = labelled_part(labelled, labels)
        context.warn = warn
        acquired = spend_budget(
            _each_once(sampler.order(candidates, context), candidates, sampler),
            predicted.__getitem__ if annotate is None else _revealer(annotate, candidates),
            context.notify,
            lambda boxes: float(context.price(boxes[None])[0]),
            settings.budget,
            settings.stop_rule,
        )
    if annotate is None and not pool.metadata.get('ids_only'):
        _report_predicted_cost(acquired, settings, counted, reference is not None, warn)
    _report(acquired, candidates, settings, warn)
    spent = sum((frame.boxes for frame in acquired.frames), np.zeros(len(pool.classes), dtype=np.int64))
    return Query(
        round=_next_round(labels) if round_number is None else round_number,
        sampler=sampler.config,
        seed=seed,
        settings=settings,
        spent=_whole(acquired.spent),
        spent_per_class=_by_class(spent, pool.classes),
        cost=context.charged,
        stopped=acquired.stopped,
        pool={'name': labels.pool_name, 'size': labels.pool_size, 'sha256': labels.pool_sha256},
        frames=_selected(acquired, candidates, predicted, context.charged),
        warnings=tuple(warnings),
        counted_above={} if pool.metadata.get('ids_only') else counted.by_class(pool.classes),
        diagnostics={name: value() if callable(value) else value for name, value in context.diagnostics.items()},
    )


def _check_whole(name: str, number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise UserError(f'{name}: found {number!r}, expected a whole number >= 0')


def _used_reference(sampler: ActiveSampler, reference: PoolPredictions | None, warn: Warn) -> PoolPredictions | None:
    name = type(sampler).__name__
    if sampler.needs_reference and reference is None:
        raise UserError(f'{name} needs the predictions of a second model; give --reference-predictions')
    if reference is not None and not sampler.uses_reference:
        warn(f'{name} does not use reference predictions; they were ignored')
        return None
    return reference


def _check_inputs(
    sampler: ActiveSampler,
    settings: QuerySettings,
    pool: PoolPredictions,
    labels: LabelState,
    given: PoolPredictions | None,
    labelled: PoolPredictions | None,
    annotate: Annotate | None,
    warn: Warn,
) -> None:
    """Check that the cost of a frame can be known, and that the sampler has what it needs of the labelled frames."""
    name = type(sampler).__name__
    if pool.metadata.get('ids_only') and annotate is None and settings.pricing.needs_boxes:
        raise UserError(
            f"{pool.source}: without predictions the cost of a frame in boxes is unknown; set query.unit='frames', give "
            '--predictions, or annotated counts'
        )
    if sampler.needs_labelled and labels.frames and labelled is None:
        raise UserError(f'{name} needs predictions for the labelled frames; give --labelled-predictions')
    counts = annotate is None and settings.cost_score == CALIBRATED
    if given is not None and not (sampler.needs_labelled or sampler.uses_labelled or counts):
        warn(f'{name} does not use labelled predictions; they were ignored')


def _context(
    settings: QuerySettings,
    seed: int,
    labels: LabelState,
    detections: Detections,
    predicted: NDArray[np.int64],
    known: Known,
    charged: str,
) -> QueryContext:
    """Return what a sampler may know besides the predictions."""
    classes = detections.predictions.classes
    table = labelled_table(labels, classes)
    estimates = estimate(settings, table, predicted, classes)
    return QueryContext(
        classes=classes,
        budget=estimates.boxes,
        seed=seed,
        detections=detections,
        labelled_counts=table.sum(axis=0),
        frames_estimate=estimates.frames,
        charged=charged,
        price=lambda boxes: settings.pricing.prices(boxes, classes),
        known=known.detections,
        known_counts=None if known.detections is None else known.counts,
    )


def _each_once(order: Iterator[Candidate], pool: PoolPredictions, sampler: ActiveSampler) -> Iterator[Candidate]:
    """Yield a sampler's frames and refuse one that it offers twice, or that is not in the pool."""
    offered: set[int] = set()
    for candidate in order:
        frame = candidate.frame
        if not 0 <= frame < len(pool):
            raise UserError(
                f'{type(sampler).__name__} offers frame {frame} of a pool of {len(pool)}; correct its order()'
            )
        if frame in offered:
            raise UserError(
                f'{type(sampler).__name__} offers frame {pool.frame_ids[frame]} twice; every frame may be yielded once, '
                'correct its order()'
            )
        offered.add(frame)
        yield candidate


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


def _report(acquired: Acquisition, pool: PoolPredictions, settings: QuerySettings, warn: Warn) -> None:
    relaxed = [frame.candidate.relax_level for frame in acquired.frames if frame.candidate.relax_level]
    if relaxed:
        warn(f'{len(relaxed)} frames passed only relaxed limits (up to level {max(relaxed)})')
    if acquired.refused is not None:
        warn(f'exclude_crossing looked at the boxes of frame {pool.frame_ids[acquired.refused]} before refusing it')
    if acquired.stopped == 'pool_exhausted':
        warn(
            f'the pool ran out after {len(acquired.frames)} frames: {_whole(acquired.spent)} of '
            f'{_whole(settings.budget)} {settings.pricing.plural} spent'
        )


def _report_predicted_cost(
    acquired: Acquisition, settings: QuerySettings, counted: CostScores, compared: bool, warn: Warn
) -> None:
    """Say how far the number of predicted boxes can be trusted as a cost."""
    if not settings.pricing.needs_boxes:
        return
    if settings.cost_score == CALIBRATED and not counted.calibrated.any():
        both = ' and --labelled-reference-predictions' if compared else ''
        warn(
            f'predicted boxes count above a score of {USUAL}: too few labelled frames with predictions to calibrate it; '
            f'give --labelled-predictions{both}, or set query.cost_score'
        )
    free = sum(not frame.boxes.any() for frame in acquired.frames)
    if 2 * free > len(acquired.frames) and settings.unit == 'boxes' and not settings.empty_cost:
        warn(
            f'{free} of {len(acquired.frames)} frames count no predicted box and were free; set query.empty_cost, a '
            "lower query.cost_score or query.unit='frames'"
        )


def _selected(
    acquired: Acquisition, pool: PoolPredictions, predicted: NDArray[np.int64], charged: str
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
        for candidate, boxes in acquired.frames
    )


def _by_class(boxes: NDArray[np.integer], classes: Sequence[str]) -> dict[str, int]:
    return {name: int(count) for name, count in zip(classes, boxes)}


def _next_round(labels: LabelState) -> int:
    return max((frame.round for frame in labels.frames), default=-1) + 1


def _whole(number: float) -> float:
    """Return a number as an integer where it is one."""
    return int(number) if float(number).is_integer() else number
