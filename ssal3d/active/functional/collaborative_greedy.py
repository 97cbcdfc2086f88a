"""The greedy selection of CAL and its limits per class (spec 4.2 and 4.4; Algorithm 1 with the errors of 4.3 resolved).

Resolutions used here: D-6 (a similarity equal to the threshold is rejected), D-9 and P-26 (weight of a full class),
B-10 and B-16 (weights apply to immutable base values), D-11 (reliable boxes for eligibility and counters), B-12, B-13
and P-25 (all classes are counted, on acceptance only, and full at ``count >= cap``), B-14 and B-15 (bounded relaxation,
then the end), P-24 (a scan goes on behind an accepted frame, and from the start after a class became full). Limits are
rounded to nine decimals: a count is compared with them, and `0.3 * 150 / 3 + 1` must be 16.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.detections import Detections
from ssal3d.active.functional.diversity import Similarity
from ssal3d.active.functional.uncertainty import frame_mean
from ssal3d.active.sampler import Candidate

CLASSES_IGNORED = 10  # at this relaxation (factor 2) frames need no box of a class that is not full
ANY_FRAME = 11  # at this one they may resemble the selection, too


@dataclass(frozen=True)
class Limits:
    """What a frame must fulfil.

    Attributes:
        t_sim: Similarity to the selection must stay below this.
        s_obj: ``(C,)`` a frame needs a reliable box with a higher score of a class that is not full.
        caps: ``(C,)`` counted boxes at which a class is full.
        w_full: ``(C,)`` weight of the uncertainty of a full class's boxes.
        relax: Whether limits are relaxed when nothing passes them.
    """

    t_sim: float
    s_obj: NDArray[np.floating]
    caps: NDArray[np.floating]
    w_full: NDArray[np.floating]
    relax: bool = True

    def relaxed_t_sim(self, level: int) -> float:
        """Return the similarity threshold at a relaxation level, rounded like the similarities."""
        return float('inf') if level >= ANY_FRAME else round(self.t_sim * (1 + 0.1 * level), 9)

    def relaxed_s_obj(self, level: int) -> NDArray[np.float32]:
        """Return ``(C,)`` score thresholds at a relaxation level, as float32 like the scores."""
        return (np.asarray(self.s_obj) / (1 + 0.1 * level)).astype(np.float32)


def collaborative_greedy(
    base: NDArray[np.floating],
    detections: Detections,
    similarity: Similarity,
    limits: Limits,
    counted: Callable[[int], NDArray[np.integer] | None] = lambda frame: None,
) -> Iterator[Candidate]:
    """Yield frames by descending mean uncertainty as far as similarity and class limits allow.

    Within one relaxation level similarities and full classes only grow, so a rejected frame is not looked at again
    before the next level; there are at most ``12 + C`` sorts of the F frames and 12 F visits.

    Args:
        base: ``(K,)`` uncertainty of every box of ``detections``.
        detections: Boxes of F frames with their reliable mask.
        similarity: Similarity of the frames to the selection; grows with every accepted frame.
        limits: What a frame must fulfil.
        counted: Gives the ``(C,)`` boxes that an accepted frame adds to the class counters; None: its reliable boxes
            above ``s_obj``.

    Yields:
        Accepted frames with their weighted uncertainty. When the generator goes on, the frame counts as bought.
    """
    labels, offsets = detections.predictions.labels, detections.predictions.offsets
    full = np.zeros(len(limits.caps), dtype=bool)
    count = np.zeros(len(limits.caps), dtype=np.int64)
    remaining = np.ones(len(offsets) - 1, dtype=bool)
    for level in range(ANY_FRAME + 1 if limits.relax else 1):
        t_sim, s_obj = limits.relaxed_t_sim(level), limits.relaxed_s_obj(level)
        objects = detections.count(detections.reliable & (detections.predictions.scores > s_obj[labels]))
        waiting, rescan = remaining.copy(), True
        while rescan:
            rescan = False
            utility = frame_mean(np.where(full, limits.w_full, 1.0)[labels] * base, offsets)
            eligible = waiting & (objects[:, ~full].any(axis=1) | (level >= CLASSES_IGNORED))
            for frame, sim in similarity.visit(_by_utility(utility, eligible), t_sim):
                waiting[frame] = False
                if sim >= t_sim:
                    continue
                remaining[frame] = False
                yield Candidate(frame, float(utility[frame]), sim, level)
                similarity.add(frame)
                added = counted(frame)
                count += objects[frame] if added is None else added
                if (count[~full] >= limits.caps[~full]).any():
                    full = count >= limits.caps
                    rescan = True
                    break


def _by_utility(utility: NDArray[np.float64], eligible: NDArray[np.bool_]) -> list[int]:
    """Return the eligible frames by descending utility; equal ones in the order of the pool."""
    frames = np.flatnonzero(eligible)
    return frames[np.argsort(-utility[frames], kind='stable')].tolist()


def manual_caps(weights: NDArray[np.floating], budget: int) -> NDArray[np.float64]:
    """Return ``w_c B / C + 1``, the limits of the released configs (D-8, D-35).

    Args:
        weights: ``(C,)`` class weights >= 0; scaled to sum to C where they do not (B-32).
        budget: Boxes of this query.

    >>> manual_caps(np.array([0.3, 1.1, 1.6]), 150).tolist()
    [16.0, 56.0, 81.0]
    """
    size, total = len(weights), weights.sum()
    scale = 1.0 if abs(total - size) <= 1e-6 else size / total
    return np.round(weights * scale * budget / size + 1, 9)


def inverse_frequency_caps(
    labelled: NDArray[np.integer], budget: int, minimum: float | None = None
) -> NDArray[np.float64]:
    """Return ``B (1 / N_c) / sum_i (1 / N_i)`` (Eq. 6): the rarer a class is among the labels, the higher its limit.

    Args:
        labelled: ``(C,)`` labelled boxes N_c; a class without any counts as one.
        budget: Boxes B of this query.
        minimum: Lowest limit of a class; by default ``max(1, 0.1 B / C)`` (D-8).

    >>> inverse_frequency_caps(np.array([100, 50, 50]), 150).tolist()
    [30.0, 60.0, 60.0]
    """
    inverse = 1 / np.maximum(labelled, 1)
    floor = max(1.0, 0.1 * budget / len(labelled)) if minimum is None else minimum
    return np.maximum(np.round(budget * inverse / inverse.sum(), 9), floor)
