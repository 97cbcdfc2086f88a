"""Merging the predictions of two models, and which boxes both of them saw (spec 4.2 steps 2 and 3).

Resolutions of spec 4.3 used here: D-2 and D-3 (replace at one threshold, append at a higher one, optional final NMS),
B-18 (a reference model that predicts nothing in a frame makes nothing of it reliable).
"""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ssal3d.active.detections import Detections
from ssal3d.ops.box_kernels import pair_bev_iou
from ssal3d.ops.boxes import overlaps_any
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
    boxes = [np.ascontiguousarray(part.boxes, dtype=np.float64) for part in (query, reference)]
    source, offsets = _merge(
        boxes[0],
        query.scores,
        query.offsets,
        boxes[1],
        reference.scores,
        reference.labels,
        reference.offsets,
        np.float32(s_rep),  # scores are float32: 0.8 must not count as more than 0.8
        np.broadcast_to(s_add, len(query.classes)).astype(np.float32),
        iou_ens,
    )
    merged = _gathered(query, reference, source, offsets)
    if nms is not None:
        kept = _suppress(np.asarray(merged.boxes, dtype=np.float64), merged.scores, offsets, nms)
        offsets = np.concatenate(([0], np.cumsum(kept)))[offsets]
        merged = _gathered(query, reference, source[kept], offsets)
    reliable = overlaps_any(merged.boxes, offsets, boxes[1], reference.offsets, iou_rel)
    return Detections(merged, reliable)


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


@njit(cache=True, nogil=True)
def _merge(
    boxes: Any,
    scores: Any,
    offsets: Any,
    others: Any,
    other_scores: Any,
    other_labels: Any,
    other_offsets: Any,
    s_rep: Any,
    s_add: Any,
    iou_ens: Any,
) -> Any:
    """Return where each merged box comes from (query boxes first, then reference boxes) and the merged offsets."""
    frames, size = offsets.shape[0] - 1, 0
    source = np.empty(boxes.shape[0] + others.shape[0], dtype=np.int64)
    merged_offsets = np.zeros(frames + 1, dtype=np.int64)
    for frame in range(frames):
        start, stop = offsets[frame], offsets[frame + 1]
        first, standing = size, scores[start:stop].copy()
        for box in range(start, stop):
            source[size] = box
            size += 1
        for other in range(other_offsets[frame], other_offsets[frame + 1]):
            score = other_scores[other]
            if start == stop or not score > s_rep:
                continue
            best, best_iou = 0, 0.0
            for box in range(start, stop):
                iou = pair_bev_iou(boxes[box], others[other])
                if iou > best_iou:
                    best, best_iou = box - start, iou
            if best_iou > iou_ens:
                if score > standing[best]:
                    source[first + best], standing[best] = boxes.shape[0] + other, score
            elif score > s_add[other_labels[other]]:
                source[size] = boxes.shape[0] + other
                size += 1
        merged_offsets[frame + 1] = size
    return source[:size], merged_offsets


@njit(cache=True, nogil=True)
def _suppress(boxes: Any, scores: Any, offsets: Any, threshold: Any) -> Any:
    """Return which boxes survive a class-agnostic suppression within each frame, the highest score first."""
    kept = np.ones(boxes.shape[0], dtype=np.bool_)
    for frame in range(offsets.shape[0] - 1):
        start = offsets[frame]
        order = np.argsort(-scores[start : offsets[frame + 1]], kind='mergesort') + start
        for rank in range(order.shape[0]):
            for weaker in order[rank + 1 :]:
                if kept[order[rank]] and kept[weaker] and pair_bev_iou(boxes[order[rank]], boxes[weaker]) > threshold:
                    kept[weaker] = False
    return kept


def _warm_up() -> None:
    pools = []
    for writeable in (True, False):  # columns of one part are views of the file's memory, of several parts copies
        scores, labels = np.ones(1, np.float32), np.zeros(1, np.int16)
        scores.flags.writeable = labels.flags.writeable = writeable
        pools.append(
            PoolPredictions(np.array(['0']), np.array([0, 1]), np.ones((1, 7), np.float32), scores, labels, ('Car',))
        )
    for query, reference in product(pools, pools):
        merge_predictions(query, reference, nms=0.5)
