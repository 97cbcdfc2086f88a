"""Matching of detections to ground truth by the rules of KITTI's evaluator, for many frames in one pass.

Only pairs of one frame that overlap are kept, frame after frame, so the matching itself needs no frames.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.kitti_objects import KittiFrames
from ssal3d.ops.box_kernels import pair_bev_iou, pair_iou_3d
from ssal3d.ops.kernel import kernel

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
States = NDArray[np.int8]

METRICS = ('2d', 'bev', '3d')
RECALL_POSITIONS = 41
_COVERED = len(METRICS)  # column of the overlaps after the IoUs


@dataclass(frozen=True)
class Pairs:
    """Overlapping pairs of a ground truth and a detection of the same frame.

    Attributes:
        start: ``(G + 1,)`` ground truth ``g`` owns the pairs ``start[g]:start[g + 1]``, by ascending detection.
        detection: ``(P,)`` row of the detection.
        iou: ``(P,)`` IoU by metric.
        covered: ``(P,)`` share of the detection's image box that lies in the ground truth's.
    """

    start: Rows
    detection: Rows
    iou: dict[str, Array]
    covered: Array

    def largest_cover(self, truths: NDArray[np.bool_], detections: int) -> Array:
        """Return for each of D detections the largest share that one of the ground truths in ``(G,)`` covers."""
        chosen = np.repeat(truths, np.diff(self.start))
        result = np.zeros(detections)
        np.maximum.at(result, self.detection[chosen], self.covered[chosen])
        return result


def overlapping_pairs(truth: KittiFrames, detections: KittiFrames, evaluated: NDArray[np.bool_]) -> Pairs:
    """Find the pairs that overlap in the image or in BEV.

    Args:
        truth: Ground truth of F frames, G objects.
        detections: Detections of the same frames.
        evaluated: ``(G,)`` the ground truths to pair. O(pairs within a frame); distant boxes cost one comparison.
    """
    arrays = (
        truth.offsets,
        detections.offsets,
        np.ascontiguousarray(truth.objects.bbox, dtype=np.float64),
        np.ascontiguousarray(detections.objects.bbox, dtype=np.float64),
        truth.objects.upright_boxes().astype(np.float64, copy=False),
        detections.objects.upright_boxes().astype(np.float64, copy=False),
        evaluated,
    )
    start = np.zeros(len(evaluated) + 1, dtype=np.int64)
    count, room = 4 * len(evaluated), -1
    while room < count:  # a second time only if the objects lie unusually close together
        room = count
        detection, overlaps = np.empty(room, dtype=np.int64), np.empty((_COVERED + 1, room))
        count = _overlapping_pairs(*arrays, start, detection, overlaps)
    columns = overlaps[:, :count]
    return Pairs(start, detection[:count], dict(zip(METRICS, columns, strict=False)), columns[_COVERED])


def precision_curve(
    pairs: Pairs,
    metric: str,
    truth_states: States,
    states: States,
    scores: Array,
    ignored: NDArray[np.bool_],
    min_iou: float,
    small_sets: bool = False,
) -> Array:
    """Return the precision at 41 recall positions, made monotone, for one class, difficulty and metric.

    Args:
        pairs: Overlapping pairs.
        metric: One of `METRICS`.
        truth_states: ``(G,)`` 0 counts, 1 may be detected but does not count, -1 is nothing to this class.
        states: ``(D,)`` the same for detections.
        scores: ``(D,)`` confidences.
        ignored: ``(D,)`` detections that are no error when they match nothing.
        min_iou: A pair matches above this IoU.
        small_sets: See `ssal3d.evaluation.kitti_ap.evaluate_kitti`.

    Returns:
        ``(41,)`` precision at recall 0, 1/40, ..., 1; 0 where the recall is not reached. O(41 (G + P + D)).
    """
    scene = (np.flatnonzero(truth_states >= 0), truth_states, states, scores, pairs.start, pairs.detection)
    hit_scores, assigned = np.empty(len(scene[0])), np.empty(len(states), dtype=np.bool_)
    hits = _match(*scene, pairs.iou[metric], min_iou, -np.inf, True, hit_scores, assigned)
    descending = np.sort(hit_scores[:hits])[::-1]
    truths = int((truth_states == 0).sum())
    sample = score_thresholds_of_few if small_sets and truths < RECALL_POSITIONS else score_thresholds
    precision = np.zeros(RECALL_POSITIONS)
    for position, lowest in enumerate(sample(descending, truths)):
        hits = _match(*scene, pairs.iou[metric], min_iou, lowest, False, hit_scores, assigned)
        errors = int(((states == 0) & (scores >= lowest) & ~assigned & ~ignored).sum())
        precision[position] = hits / max(hits + errors, 1)
    return np.maximum.accumulate(precision[::-1])[::-1]


def score_thresholds(descending: Array, truths: int) -> list[float]:
    """Return the scores at which KITTI reads the precision: those whose recall is nearest to 0, 1/40, 2/40, ...

    Args:
        descending: Scores of the true positives.
        truths: Number of counted ground truths.

    Returns:
        At most 41 scores, but never more than true positives.
    """
    thresholds: list[float] = []
    recall = 0.0
    last = len(descending) - 1
    for index, score in enumerate(descending.tolist()):
        here = (index + 1) / truths
        following = (index + 2) / truths
        if index < last and following - recall < recall - here:
            continue
        thresholds.append(score)
        recall += 1 / (RECALL_POSITIONS - 1)  # summed up, not multiplied, because its rounding decides ties
    return thresholds


def score_thresholds_of_few(descending: Array, truths: int) -> list[float]:
    """Return for each recall position 0, 1/40, ..., 1 the score of the first true positive that reaches it.

    Args:
        descending: Scores of the true positives.
        truths: Number of counted ground truths.
    """
    steps = RECALL_POSITIONS - 1
    needed = np.maximum(1, -(-np.arange(RECALL_POSITIONS) * truths // steps))
    return descending[needed[needed <= len(descending)] - 1].tolist()


@kernel
def _overlapping_pairs(
    truth_offsets: Rows,
    offsets: Rows,
    truth_bbox: Array,
    bbox: Array,
    truth_boxes: Array,
    boxes: Array,
    evaluated: NDArray[np.bool_],
    start: Rows,
    detection: Rows,
    overlaps: Array,
) -> int:
    """Write start, detection and overlaps as far as there is room; return the number of pairs."""
    count = 0
    for frame in range(truth_offsets.size - 1):
        for g in range(truth_offsets[frame], truth_offsets[frame + 1]):
            a = truth_bbox[g]
            for d in range(offsets[frame], offsets[frame + 1]):
                if not evaluated[g]:
                    continue
                b = bbox[d]
                width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                common = width * height if width > 0.0 and height > 0.0 else 0.0
                ground = pair_bev_iou(truth_boxes[g], boxes[d])
                if common > 0.0 or ground > 0.0:
                    if count < detection.size:
                        area = (b[2] - b[0]) * (b[3] - b[1])
                        union = (a[2] - a[0]) * (a[3] - a[1]) + area - common
                        detection[count] = d
                        overlaps[0, count] = common / union if common > 0.0 else 0.0
                        overlaps[1, count] = ground
                        overlaps[2, count] = pair_iou_3d(truth_boxes[g], boxes[d]) if ground > 0.0 else 0.0
                        overlaps[_COVERED, count] = common / area if common > 0.0 else 0.0
                    count += 1
            start[g + 1] = count
    return count


@kernel
def _match(
    rows: Rows,
    truth_states: States,
    states: States,
    scores: Array,
    start: Rows,
    detection: Rows,
    iou: Array,
    min_iou: float,
    lowest: float,
    by_score: bool,
    hit_scores: Array,
    assigned: NDArray[np.bool_],
) -> int:
    """Give every ground truth of ``rows`` a detection; return the number of true positives.

    Ground truths choose in file order. By score, each takes the most confident detection that overlaps (which tells the
    score thresholds). Otherwise it takes the one with the greatest overlap, and one that does not count only if there
    is no other (which tells the errors). ``hit_scores`` and ``assigned`` are written.
    """
    assigned[:] = False
    hits = 0
    for g in rows:
        best = -1
        best_iou = 0.0
        for pair in range(start[g], start[g + 1]):
            d = detection[pair]
            if iou[pair] <= min_iou or assigned[d] or states[d] < 0 or scores[d] < lowest:
                continue
            if best < 0:
                better = True
            elif by_score:
                better = scores[d] > scores[best]
            else:
                better = states[d] == 0 and (states[best] == 1 or iou[pair] > best_iou)
            if better:
                best = d
                best_iou = iou[pair]
        if best >= 0:
            assigned[best] = True
            if truth_states[g] == 0 and states[best] == 0:
                hit_scores[hits] = scores[best]
                hits += 1
    return hits
