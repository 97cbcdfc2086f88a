"""The greedy selection of CAL and its limits per class (S-SSAL, Algorithm 1 and Eq. 6).

Where the paper's text or the released code leave something open or do not end (docs/deviations.md#cal): a similarity
equal to the threshold is rejected; weights of full classes apply to immutable base values; all classes of an accepted
frame are counted, and a class is full at ``count >= cap``; a scan continues after an accepted frame, and starts again
when a class has become full; limits are relaxed one after another, then the selection ends. Limits are rounded to nine
decimals: a count is compared with them, and `0.3 * 150 / 3 + 1` must be 16.
"""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.diversity import Similarity
from ssal3d.active.functional.uncertainty import frame_mean
from ssal3d.active.sampler import FRAMES, Candidate, Detections

RELAXABLE = ('s_obj', 'classes', 't_sim')  # in the order in which they are relaxed
STEPS = 10  # in which a limit changes by a tenth each
FEWEST = 10  # predicted boxes of a class from which on a precision means something


class Relaxation(NamedTuple):
    """The limits at one level of relaxation.

    Attributes:
        s_obj: ``(C,)`` float32 thresholds, like the scores.
        any_class: Whether a frame needs no box of a class that is not full.
        t_sim: Similarity to the selection that a frame must stay below, rounded like the similarities.
    """

    s_obj: NDArray[np.float32]
    any_class: bool
    t_sim: float


@dataclass(frozen=True)
class Limits:
    """What a frame must fulfil.

    Attributes:
        t_sim: Similarity to the selection must stay below this.
        s_obj: ``(C,)`` a frame needs a reliable box with a higher score of a class that is not full.
        caps: ``(C,)`` counted boxes at which a class is full.
        w_full: ``(C,)`` weight of the uncertainty of a full class's boxes.
        relax: Which limits may be relaxed when nothing passes them, of `RELAXABLE`.
        counts: ``(C,)`` classes whose boxes fill the class counters; None: all of them.
    """

    t_sim: float
    s_obj: NDArray[np.floating]
    caps: NDArray[np.floating]
    w_full: NDArray[np.floating]
    relax: tuple[str, ...] = RELAXABLE
    counts: NDArray[np.bool_] | None = None

    def levels(self) -> Iterator[Relaxation]:
        """Yield the limits level by level: one limit is relaxed to its end before the next one is touched.

        ``s_obj`` is divided by 1.1, 1.2, ... 2; then a frame needs no box of a wanted class; then ``t_sim`` grows by
        tenths, never above 1, where only copies are rejected; at last anything passes.
        """

        def thresholds(step: int) -> NDArray[np.float32]:
            return (np.asarray(self.s_obj) / (1 + step / STEPS)).astype(np.float32)

        s_obj, any_class, t_sim = thresholds(0), False, round(self.t_sim, 9)
        yield Relaxation(s_obj, any_class, t_sim)
        if 's_obj' in self.relax:
            for step in range(1, STEPS + 1):
                s_obj = thresholds(step)
                yield Relaxation(s_obj, any_class, t_sim)
        if 'classes' in self.relax:
            any_class = True
            yield Relaxation(s_obj, any_class, t_sim)
        if 't_sim' in self.relax:
            for step in range(1, STEPS + 1):
                wider = min(1.0, round(self.t_sim * (1 + step / STEPS), 9))
                if wider > t_sim:
                    t_sim = wider
                    yield Relaxation(s_obj, any_class, t_sim)
            yield Relaxation(s_obj, any_class, float('inf'))


class ClassCounters:
    """How many boxes of each class the accepted frames hold.

    Args:
        limits: ``caps`` and ``counts`` of it.
        revealed: Gives the ``(C,)`` boxes that a bought frame adds, whatever ``counts`` says; None: its objects as
            predicted.

    Attributes:
        full: ``(C,)`` classes that reached their limit.
    """

    def __init__(
        self, limits: Limits, revealed: Callable[[int], NDArray[np.integer] | None] = lambda frame: None
    ) -> None:
        self._limits, self._revealed = limits, revealed
        self._counted = np.zeros(len(limits.caps), dtype=np.int64)
        self._offered: tuple[int, NDArray[np.int64]] | None = None
        self.full = np.zeros(len(limits.caps), dtype=bool)

    def offer(self, frame: int, objects: NDArray[np.int64]) -> None:
        """Note the ``(C,)`` predicted objects of a frame that is offered; they count once it is bought."""
        self._offered = frame, objects

    def settle(self) -> bool:
        """Count the frame offered last, which was bought, and return whether a class became full."""
        assert self._offered is not None
        frame, objects = self._offered
        boxes = self._revealed(frame)
        if boxes is None:
            boxes = objects if self._limits.counts is None else np.where(self._limits.counts, objects, 0)
        self._offered = None
        self._counted += boxes
        before, self.full = self.full, self._counted >= self._limits.caps
        return bool((self.full & ~before).any())

    def counted(self, bought: Container[int]) -> NDArray[np.int64]:
        """Return the ``(C,)`` counted boxes, those of the frame offered last included if it was bought."""
        if self._offered is not None and self._offered[0] in bought:
            self.settle()
        return self._counted


def collaborative_greedy(
    base: NDArray[np.floating],
    detections: Detections,
    similarity: Similarity,
    limits: Limits,
    counters: ClassCounters,
) -> Iterator[Candidate]:
    """Yield frames by descending mean uncertainty as far as similarity and class limits allow.

    Within one relaxation level similarities and full classes only grow, so a rejected frame is not looked at again
    before the next level; there are at most ``24 + C`` sorts of the F frames and 24 F visits.

    Args:
        base: ``(K,)`` uncertainty of every box of ``detections``.
        detections: Boxes of F frames with their reliable mask.
        similarity: Similarity of the frames to the selection; grows with every accepted frame.
        limits: What a frame must fulfil.
        counters: Reliable boxes above ``s_obj`` of the accepted frames, by class.

    Yields:
        Accepted frames with their weighted uncertainty. When the generator goes on, the frame counts as bought.
    """
    labels, offsets = detections.predictions.labels, detections.predictions.offsets
    remaining = np.ones(len(offsets) - 1, dtype=bool)
    for level, (s_obj, any_class, t_sim) in enumerate(limits.levels()):
        objects = detections.count(detections.reliable & (detections.predictions.scores > s_obj[labels]))
        waiting, rescan = remaining.copy(), True
        while rescan:
            rescan = False
            utility = _mean_uncertainty(base, labels, offsets, np.where(counters.full, limits.w_full, 1.0))
            eligible = waiting & (objects[:, ~counters.full].any(axis=1) | any_class)
            order = _by_utility(utility, eligible)
            for frame, sim in similarity.visit(order, t_sim):
                remaining[frame] = False
                counters.offer(frame, objects[frame])
                yield Candidate(frame, float(utility[frame]), sim, level)
                similarity.add(frame)
                if counters.settle():
                    waiting[order[: int(np.flatnonzero(order == frame)[0]) + 1]] = False
                    rescan = True
                    break


def _mean_uncertainty(
    base: NDArray[np.floating], labels: NDArray[np.integer], offsets: NDArray[np.int64], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the mean uncertainty of every frame's boxes, each weighted by its class."""
    means = np.empty(len(offsets) - 1)
    for low in range(0, len(means), FRAMES):  # bounds memory
        part = offsets[low : low + FRAMES + 1]
        boxes = slice(int(part[0]), int(part[-1]))
        means[low : low + FRAMES] = frame_mean(weights[labels[boxes]] * base[boxes], part - part[0])
    return means


def _by_utility(utility: NDArray[np.float64], eligible: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the eligible frames by descending utility; equal ones in the order of the pool."""
    frames = np.flatnonzero(eligible)
    return frames[np.argsort(-utility[frames], kind='stable')]


def manual_caps(weights: NDArray[np.floating], budget: int) -> NDArray[np.float64]:
    """Return ``w_c B / C + 1``, the limits of the released configs.

    Args:
        weights: ``(C,)`` class weights >= 0; scaled to sum to C where they do not.
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
        minimum: Lowest limit of a class; by default ``max(1, 0.1 B / C)``.

    >>> inverse_frequency_caps(np.array([100, 50, 50]), 150).tolist()
    [30.0, 60.0, 60.0]
    """
    inverse = 1 / np.maximum(labelled, 1)
    floor = max(1.0, 0.1 * budget / len(labelled)) if minimum is None else minimum
    return np.maximum(np.round(budget * inverse / inverse.sum(), 9), floor)


class CountPrecision(NamedTuple):
    """Precision of counts.

    Attributes:
        of_class: ``(C,)`` shares in [0, 1]; NaN for a class with fewer than `FEWEST` predicted boxes.
        boxes: ``(C,)`` predicted boxes that they rest on.
        s_obj: ``(C,)`` score above which those are.
    """

    of_class: NDArray[np.float64]
    boxes: NDArray[np.int64]
    s_obj: NDArray[np.float64]


def count_precision(
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    frames: NDArray[np.integer],
    annotated: NDArray[np.integer],
    s_obj: NDArray[np.floating],
    least: float = 0.0,
    fewest: int = FEWEST,
) -> CountPrecision:
    """Return the share of predicted boxes that have a counterpart in their frame: ``sum min(p, a) / sum p`` by class.

    Where it is below ``least``, the class's threshold rises to the lowest score above which it is not; if there is
    none with enough boxes, it stays. Boxes are compared by number, not by place, so that the share is an upper bound of
    the precision, and reached where detections are either in place or of things that are not in the frame at all.
    Takes O(K log K) steps.

    Args:
        scores: ``(K,)`` predicted boxes of labelled frames.
        labels: ``(K,)`` their classes.
        frames: ``(K,)`` their frames, rows of ``annotated``.
        annotated: ``(F, C)`` annotated boxes of the frames.
        s_obj: ``(C,)`` score above which a box counts.
        least: Share that a class should have.
        fewest: Predicted boxes of a class that a precision takes.

    >>> scores, frames = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0, 1, 0, 2])
    >>> count_precision(scores, np.zeros(4, int), frames, np.array([[1], [1], [0]]), np.array([0.5]), 0.9, 2)
    CountPrecision(of_class=array([1.]), boxes=array([2]), s_obj=array([0.7]))
    """
    lowest, raised = np.asarray(s_obj, scores.dtype), np.array(s_obj, dtype=np.float64)
    of_class, boxes = np.full(len(raised), np.nan), np.zeros(len(raised), dtype=np.int64)
    for label in range(len(raised)):
        own = np.flatnonzero((labels == label) & (scores > lowest[label]))
        own = own[np.argsort(-scores[own], kind='stable')]
        boxes[label] = len(own)
        if len(own) < fewest:
            continue
        share = np.cumsum(_rank_in_frame(frames[own]) < annotated[frames[own], label]) / np.arange(1, len(own) + 1)
        last_of_its_score = np.append(scores[own][1:] != scores[own][:-1], True)
        enough = np.flatnonzero(last_of_its_score & (share >= least) & (np.arange(len(own)) >= fewest - 1))
        end = int(enough[-1]) if len(enough) else len(own) - 1
        of_class[label], boxes[label] = share[end], end + 1
        if end + 1 < len(own):
            raised[label] = scores[own][end + 1]
    return CountPrecision(of_class, boxes, raised)


def _rank_in_frame(frames: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return how many earlier boxes are of the same frame.

    >>> _rank_in_frame(np.array([5, 2, 5, 5, 2])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(frames, kind='stable')
    first = np.searchsorted(frames[order], frames[order])
    rank = np.empty(len(frames), dtype=np.int64)
    rank[order] = np.arange(len(frames)) - first
    return rank
