"""Merging the predictions of two models, and which boxes both of them saw.

S-SSAL (Wang et al. 2025, arXiv 2501.15449) merges two models for its ensemble entropy (Eq. 4) without giving the rule.
As in its released code, a reference box replaces a query box above one score and is added above a higher one. Unlike
there, no box of a frame is reliable if the reference model predicts nothing in it (docs/deviations.md#cal).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.sampler import Detections
from ssal3d.ops.box_geometry import overlapping_pairs
from ssal3d.predictions import PoolPredictions

FRAMES = 4096  # merged at a time: bounds memory


def merge_predictions(
    query: PoolPredictions,
    reference: PoolPredictions,
    s_rep: float = 0.5,
    s_add: NDArray[np.floating] | float = 0.8,
    iou_ens: float = 0.5,
    iou_rel: float = 0.2,
) -> Detections:
    """Merge confident boxes of a reference model into those of the query model.

    Every reference box with a score above ``s_rep`` looks for the query box it overlaps most in bird's-eye view,
    whatever the classes. Above ``iou_ens`` it takes that box's place if its score is higher than the one that stands
    there at that moment; otherwise it is appended if its score is above ``s_add``. Boxes come in file order. A frame
    without query boxes or without reference boxes stays as it is.

    Args:
        query: Predictions of the query model, K boxes.
        reference: Predictions of the reference model for the same frames, with the same classes.
        s_rep: Score above which a reference box may replace.
        s_add: Score above which a reference box may be appended, one value or ``(C,)``.
        iou_ens: BEV IoU above which two boxes show the same object.
        iou_rel: BEV IoU with any reference box above which a merged box is reliable.

    Returns:
        The merged boxes with their reliable mask. ``class_logits`` are merged alike if both models have them.
    """
    rules = _Rules(
        np.float32(s_rep), np.broadcast_to(s_add, len(query.classes)).astype(np.float32), iou_ens, iou_rel
    )  # scores are float32, too
    parts = [
        _merge(query.between(low, low + FRAMES), reference.between(low, low + FRAMES), rules)
        for low in range(0, max(len(query), 1), FRAMES)
    ]
    offsets = np.cumsum(np.concatenate([np.zeros(1, dtype=np.int64), *(part.counts for part in parts)]))
    name = 'class_logits'
    both = name in query.fields and name in reference.fields
    merged = replace(
        query,
        offsets=offsets,
        boxes=_picked(query, reference, query.boxes, reference.boxes, parts),
        scores=_picked(query, reference, query.scores, reference.scores, parts),
        labels=_picked(query, reference, query.labels, reference.labels, parts),
        fields={name: _picked(query, reference, query[name], reference[name], parts)} if both else {},
    )
    return Detections(merged, np.concatenate([part.reliable for part in parts]))


def suppress(detections: Detections, threshold: float) -> Detections:
    """Return the detections without boxes that overlap one of their frame with a higher score, whatever the classes.

    Detectors that suppress class by class give one object a box of each class that it resembles.

    Args:
        detections: Of F frames.
        threshold: BEV IoU above which two boxes show the same object.

    Returns:
        What is left, without other columns than ``class_logits``.
    """
    predictions = detections.predictions
    kept = [np.ones(0, dtype=bool)]
    for low in range(0, len(predictions), FRAMES):
        part = predictions.between(low, low + FRAMES)
        kept.append(_survivors(part.boxes, part.scores, part.offsets, threshold))
    keep = np.concatenate(kept)
    name = 'class_logits'
    left = replace(
        predictions,
        offsets=np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(keep)))[predictions.offsets],
        boxes=predictions.boxes[keep],
        scores=predictions.scores[keep],
        labels=predictions.labels[keep],
        fields={name: predictions[name][keep]} if name in predictions.fields else {},
    )
    return Detections(left, detections.reliable[keep])


class _Rules(NamedTuple):
    """The rules of a merge, see `merge_predictions`."""

    s_rep: np.float32
    s_add: NDArray[np.float32]
    iou_ens: float
    iou_rel: float


class _Part(NamedTuple):
    """Some frames, merged.

    Attributes:
        source: ``(N,)`` where each merged box comes from: their query boxes first, then their reference boxes.
        counts: ``(F,)`` merged boxes of each frame.
        reliable: ``(N,)`` which of them are reliable.
    """

    source: NDArray[np.int32]
    counts: NDArray[np.int64]
    reliable: NDArray[np.bool_]


def _merge(query: PoolPredictions, reference: PoolPredictions, rules: _Rules) -> _Part:
    """Merge the predictions of some frames."""
    own = len(query.scores)
    box, other, iou = overlapping_pairs(query.boxes, query.offsets, reference.boxes, reference.offsets)
    best = _first_highest(other, iou, len(reference.scores))
    same = best[iou[best] > rules.iou_ens]  # each confident box meets the box that it overlaps most
    confident = (reference.scores > rules.s_rep) & (np.diff(query.offsets) > 0)[reference.frame_of_box]
    source = np.arange(own)
    rivals = same[confident[other[same]] & (reference.scores[other[same]] > query.scores[box[same]])]
    # Compared one after another with what stands there, the highest score wins, and the first of equal ones.
    winners = rivals[_first_highest(box[rivals], reference.scores[other[rivals]], own)]
    source[box[winners]] = own + other[winners]
    appended = confident & (reference.scores > rules.s_add[reference.labels])
    appended[other[same]] = False
    frame = np.concatenate((query.frame_of_box, reference.frame_of_box[appended]))
    source = np.concatenate((source, own + np.flatnonzero(appended)))[np.argsort(frame, kind='stable')]
    counts = np.bincount(frame, minlength=len(query))
    seen_twice = np.bincount(box[iou > rules.iou_rel], minlength=own) > 0
    itself = (reference.boxes[:, 3] * reference.boxes[:, 4] > 0) & (rules.iou_rel < 1)
    return _Part(source.astype(np.int32), counts, np.concatenate((seen_twice, itself))[source])


def _first_highest(group: NDArray[np.integer], value: NDArray[np.floating], groups: int) -> NDArray[np.int64]:
    """Return the position of the highest member of each group that has one, the first of equal ones, by group.

    >>> _first_highest(np.array([7, 3, 7, 7]), np.array([1.0, 0.5, 2.0, 2.0]), 8).tolist()
    [1, 2]
    """
    highest = np.full(groups, -np.inf, dtype=value.dtype)
    np.maximum.at(highest, group, value)
    reached = np.flatnonzero(value == highest[group])
    position = np.full(groups, -1)
    position[group[reached[::-1]]] = reached[::-1]  # the last one written stays
    return position[position >= 0]


def _picked(
    query: PoolPredictions,
    reference: PoolPredictions,
    first: NDArray[Any],
    second: NDArray[Any],
    parts: Sequence[_Part],
) -> NDArray[Any]:
    """Return a column of the merged boxes from that of the query's boxes and that of the reference's."""
    picked = np.empty((sum(len(part.source) for part in parts), *first.shape[1:]), np.result_type(first, second))
    start = 0
    for number, part in enumerate(parts):
        low, high = number * FRAMES, min((number + 1) * FRAMES, len(query))
        both = (
            first[query.offsets[low] : query.offsets[high]],
            second[reference.offsets[low] : reference.offsets[high]],
        )
        picked[start : start + len(part.source)] = np.concatenate(both)[part.source]
        start += len(part.source)
    return picked


def _survivors(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], offsets: NDArray[np.int64], threshold: float
) -> NDArray[np.bool_]:
    """Return which boxes survive a class-agnostic suppression within each frame, the highest score first."""
    box, other, iou = overlapping_pairs(boxes, offsets, boxes, offsets)
    rank = np.empty(len(scores), dtype=np.int64)
    rank[np.lexsort((-scores, np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))))] = np.arange(len(rank))
    close = (iou > threshold) & (rank[box] < rank[other])
    stronger, weaker = box[close], other[close]
    kept = np.ones(len(rank), dtype=bool)
    while len(stronger):  # as many rounds as boxes of one chain that fall in turn
        doubtful = np.zeros(len(rank), dtype=bool)
        doubtful[weaker] = True
        stays = ~doubtful[stronger]
        kept[weaker[stays]] = False
        open_pairs = ~stays & kept[stronger] & kept[weaker]
        stronger, weaker = stronger[open_pairs], weaker[open_pairs]
    return kept
