"""Merging the predictions of two models, and which boxes both of them saw.

S-SSAL (Wang et al. 2025, arXiv 2501.15449) merges two models for its ensemble entropy (Eq. 4) without giving the rule.
As in its released code, a reference box replaces a query box above one score and is added above a higher one. Unlike
there, no box of a frame is reliable if the reference model predicts nothing in it (docs/deviations.md#cal).
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.sampler import Detections
from ssal3d.ops.box_geometry import overlapping_pairs
from ssal3d.predictions import PoolPredictions


def merge_predictions(
    query: PoolPredictions,
    reference: PoolPredictions,
    s_rep: float = 0.5,
    s_add: NDArray[np.floating] | float = 0.8,
    iou_ens: float = 0.5,
    iou_rel: float = 0.2,
    nms: float | None = None,
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
        nms: BEV IoU of a final class-agnostic suppression; none by default.

    Returns:
        The merged boxes with their reliable mask. ``class_logits`` are merged alike if both models have them.
    """
    s_add = np.broadcast_to(s_add, len(query.classes)).astype(np.float32)
    pairs = overlapping_pairs(query.boxes, query.offsets, reference.boxes, reference.offsets)
    source, offsets = _merge(query, reference, pairs, np.float32(s_rep), s_add, iou_ens)  # scores are float32, too
    merged = _gathered(query, reference, source, offsets)
    if nms is not None:
        kept = _survivors(merged, nms)
        source, offsets = source[kept], np.concatenate(([0], np.cumsum(kept)))[offsets]
        merged = _gathered(query, reference, source, offsets)
    box, _, iou = pairs
    seen_twice = np.bincount(box[iou > iou_rel], minlength=len(query.scores)) > 0
    itself = (reference.boxes[:, 3] * reference.boxes[:, 4] > 0) & (iou_rel < 1)
    return Detections(merged, np.concatenate((seen_twice, itself))[source])


def _gathered(
    query: PoolPredictions, reference: PoolPredictions, source: NDArray[np.int64], offsets: NDArray[np.int64]
) -> PoolPredictions:
    """Pick boxes from the query's boxes followed by the reference's."""

    def pick(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate((first, second))[source]

    name = 'class_logits'
    both = name in query.fields and name in reference.fields
    return replace(
        query,
        offsets=offsets,
        boxes=pick(query.boxes, reference.boxes),
        scores=pick(query.scores, reference.scores),
        labels=pick(query.labels, reference.labels),
        fields={name: pick(query[name], reference[name])} if both else {},
    )


def _merge(
    query: PoolPredictions,
    reference: PoolPredictions,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
    s_rep: np.float32,
    s_add: NDArray[np.float32],
    iou_ens: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each merged box comes from (query boxes first, then reference boxes) and the merged offsets."""
    own = len(query.scores)
    box, other, iou = pairs
    best = _first_of_each(other, -iou, box)
    same = best[iou[best] > iou_ens]  # each confident box meets the box that it overlaps most
    confident = (reference.scores > s_rep) & (np.diff(query.offsets) > 0)[reference.frame_of_box]
    source = np.arange(own)
    rivals = same[confident[other[same]] & (reference.scores[other[same]] > query.scores[box[same]])]
    # Compared one after another with what stands there, the highest score wins, and the first of equal ones.
    winners = rivals[_first_of_each(box[rivals], -reference.scores[other[rivals]], other[rivals])]
    source[box[winners]] = own + other[winners]
    appended = confident & (reference.scores > s_add[reference.labels])
    appended[other[same]] = False
    frame = np.concatenate((query.frame_of_box, reference.frame_of_box[appended]))
    source = np.concatenate((source, own + np.flatnonzero(appended)))[np.argsort(frame, kind='stable')]
    return source, np.concatenate(([0], np.cumsum(np.bincount(frame, minlength=len(query)))))


def _first_of_each(group: NDArray[np.integer], *by: NDArray[Any]) -> NDArray[np.int64]:
    """Return the position of the first member of each group, in the order of the groups.

    Args:
        group: ``(N,)`` group of each entry.
        *by: ``(N,)`` what members are ordered by, ascending; the first counts most.

    >>> _first_of_each(np.array([7, 3, 7, 7]), np.array([2, 0, 1, 1]), np.array([0, 0, 9, 8])).tolist()
    [1, 3]
    """
    order = np.lexsort((*by[::-1], group))
    ordered = group[order]
    return order[np.flatnonzero(np.diff(ordered, prepend=-1))]


def _survivors(merged: PoolPredictions, threshold: float) -> NDArray[np.bool_]:
    """Return which boxes survive a class-agnostic suppression within each frame, the highest score first."""
    box, other, iou = overlapping_pairs(merged.boxes, merged.offsets, merged.boxes, merged.offsets)
    rank = np.empty(len(merged.scores), dtype=np.int64)
    rank[np.lexsort((-merged.scores, merged.frame_of_box))] = np.arange(len(rank))
    close = np.flatnonzero((iou > threshold) & (rank[box] < rank[other]))
    close = close[np.argsort(rank[box[close]], kind='stable')]
    kept = np.ones(len(rank), dtype=bool)
    for stronger, weaker in zip(box[close].tolist(), other[close].tolist()):
        if kept[stronger]:
            kept[weaker] = False
    return kept
