"""PPAL, plug-and-play active learning: frames with hard objects, unlike each other.

Source: Yang et al. 2024, arXiv 2211.11612; see docs/deviations.md#the-other-samplers.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.category_similarity import category_distances
from ssal3d.active.functional.k_medoids import k_centres, k_medoids
from ssal3d.active.functional.uncertainty import binary_entropy
from ssal3d.active.ranking import descending
from ssal3d.active.sampler import ActiveSampler, Candidate, QueryContext
from ssal3d.class_names import per_class
from ssal3d.errors import UserError
from ssal3d.options import check_range
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS

MAX_CANDIDATES = 4096  # frames that are compared each with each: 64 MB


@ACTIVE_SAMPLERS.register_module()
class PPALSampler(ActiveSampler):
    """Buys medoids of the most uncertain frames, where boxes of badly learnt classes count for more.

    Rounds of n_f frames, as many as the budget will probably buy: the ``delta`` n_f most uncertain frames are clustered
    by category-conditioned matching similarity, and the medoids are offered, the most uncertain first. More rounds on
    the remaining frames follow while the budget lasts. A round compares at most 4,096 frames; larger n_f are split.
    Frames without boxes above ``score_thr`` have no similarity; they come after the others, those without boxes last.

    How well each class is learnt stands in the predictions' metadata as ``class_quality``, see
    `ssal3d.models.class_quality`; without it all classes count alike, with a warning.

    Args:
        alpha: Curvature of the weight of a class over its quality: the lower, the longer the weight stays high.
        beta: How much more a class of quality 0 counts than one of quality 1.
        delta: Candidates for clustering per frame to buy.
        score_thr: Boxes below this score do not count.
        max_boxes: Boxes per frame that are compared, those with the highest scores.
        iterations: Most rounds of k-medoids; it stops when no medoid moves.
    """

    required_fields: tuple[str, ...] = ('box_features',)

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.2,
        delta: float = 4,
        score_thr: float = 0.1,
        max_boxes: int = 100,
        iterations: int = 100,
    ) -> None:
        self.alpha = check_range('alpha', alpha, low=0.01)
        self.beta = check_range('beta', beta)
        self.delta = check_range('delta', delta, low=1, high=MAX_CANDIDATES)
        self.score_thr = check_range('score_thr', score_thr, high=1)
        self.max_boxes = int(check_range('max_boxes', max_boxes, low=1, high=10**6))
        self.iterations = int(check_range('iterations', iterations, high=10**6))

    def order(self, pool: PoolPredictions, context: QueryContext) -> Iterator[Candidate]:
        """Yield the medoids of each round, most uncertain first, then the frames that cannot be compared."""
        pool['box_features']  # complain before any work is done
        weights = difficulty_weights(class_quality(pool, context), self.alpha, self.beta)
        threshold = float(np.float32(self.score_thr))  # as the scores, so that a score of 0.1 is 0.1
        utilities = calibrated_uncertainty(pool.scores, pool.labels, pool.offsets, weights, threshold)
        ranking = descending(utilities, pool)
        comparable = np.zeros(len(pool), dtype=bool)
        comparable[pool.frame_of_box[pool.scores > threshold]] = True
        rest = ranking[comparable[ranking]]
        size = self._round_size(len(rest), context)
        while len(rest):
            picked = np.isin(rest, self._medoids(pool, np.sort(rest[: math.ceil(self.delta * size)]), size, context))
            for frame in rest[picked].tolist():
                yield Candidate(frame, float(utilities[frame]))
            rest = rest[~picked]
        for frame in ranking[~comparable[ranking]].tolist():
            yield Candidate(frame, float(utilities[frame]))

    def _round_size(self, frames: int, context: QueryContext) -> int:
        """Return how many frames to pick per round: n_f, if that many frames may be compared."""
        size = max(1, context.frames_estimate)
        largest = max(1, int(MAX_CANDIDATES / self.delta))
        if size <= largest or frames <= MAX_CANDIDATES:
            return size
        context.warn(
            f'the budget will buy about {size} frames; PPAL picks them in rounds of {largest} from '
            f'{MAX_CANDIDATES} candidates each, because it compares all candidates with each other'
        )
        return largest

    def _medoids(
        self, pool: PoolPredictions, frames: NDArray[np.int64], count: int, context: QueryContext
    ) -> NDArray[np.int64]:
        """Return ``count`` of the frames (ascending positions) around which the others cluster."""
        if len(frames) <= count:
            return frames
        part = pool.take(frames)
        distances = category_distances(
            part['box_features'],
            part.scores,
            part.labels,
            part.offsets,
            float(np.float32(self.score_thr)),
            self.max_boxes,
            part.frame_ids,
        )
        start = k_centres(distances, count, context.rng.randrange(len(frames)))
        return frames[k_medoids(distances, start, self.iterations)]


def difficulty_weights(quality: NDArray[np.floating], alpha: float = 0.3, beta: float = 0.2) -> NDArray[np.float64]:
    """Return the weights of classes: from 1 at quality 1 to 1 + beta at quality 0.

    Args:
        quality: ``(C,)`` qualities in [0, 1].
        alpha: Curvature.
        beta: What quality 0 adds.

    >>> difficulty_weights(np.array([0, 0.25, 0.5, 0.75, 1])).round(5).tolist()
    [1.2, 1.18345, 1.16051, 1.12292, 1.0]
    """
    return 1 + beta * alpha * np.log1p(np.expm1(1 / alpha) * (1 - quality))


def calibrated_uncertainty(
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    offsets: NDArray[np.int64],
    weights: NDArray[np.float64],
    score_thr: float = 0.1,
) -> NDArray[np.float64]:
    """Return the sum over each frame's boxes of the weight of the class times the entropy of the score, in nats.

    Args:
        scores: ``(K,)`` scores in [0, 1].
        labels: ``(K,)`` classes.
        offsets: ``(F + 1,)`` first box of every frame.
        weights: ``(C,)`` weights of the classes.
        score_thr: Boxes below this score do not count.

    Returns:
        ``(F,)`` sums, rounded to 12 decimals; -inf for frames without boxes.
    """
    sizes = np.diff(offsets)
    counts = ~(scores < score_thr)  # a score that is NaN counts, to be noticed
    values = np.where(counts, weights[labels] * binary_entropy(scores) * math.log(2), 0.0)
    sums = np.bincount(np.repeat(np.arange(len(sizes)), sizes), weights=values, minlength=len(sizes))
    return np.where(sizes > 0, sums.round(12), -np.inf)


def class_quality(pool: PoolPredictions, context: QueryContext) -> NDArray[np.float64]:
    """Return the ``(C,)`` qualities of the predictions' metadata, 0 for all with a warning where it has none.

    Raises:
        UserError: If a class is missing or unknown, or a quality is not in [0, 1].
    """
    found = pool.metadata.get('class_quality')
    if found is None:
        context.warn(
            'the metadata of the predictions has no class_quality, so all classes count alike; train the detector with '
            'class_quality=dict() in its RoI head for the weights of PPAL'
        )
        return np.zeros(len(pool.classes))
    where = f'class_quality of {pool.source}'
    if not isinstance(found, Mapping):
        raise UserError(f'{where}: found {found!r}, expected one number by class name; predict the pool again')
    quality = per_class(found, pool.classes, where)
    for name, value in zip(pool.classes, quality.tolist()):
        check_range(
            f"{where}, class '{name}'", value, high=1 + 1e-6
        )  # moving averages of float32 may exceed 1 by a bit
    return np.minimum(quality, 1)
