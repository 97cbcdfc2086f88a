"""What frames will cost: which predicted boxes count as objects that somebody will have to label, what a budget buys.

A young detector predicts dozens of phantoms with low scores in every frame. If all of them counted, a budget of boxes
would be spent on a handful of frames. The labelled frames tell where to cut: as many boxes should count there as were
annotated.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.query.settings import CALIBRATED, QuerySettings
from ssal3d.active.query.units import BoxUnit
from ssal3d.active.sampler import Detections
from ssal3d.class_names import per_class
from ssal3d.predictions import PoolPredictions

USUAL = 0.3  # score from which on a box counts while nothing is known
FEWEST = 10  # annotated boxes of a class in the labelled frames that a calibration takes


class CostScores(NamedTuple):
    """Scores above which predicted boxes count.

    Attributes:
        scores: ``(C,)`` one by class.
        calibrated: ``(C,)`` whether it comes from the labelled frames.
    """

    scores: NDArray[np.float64]
    calibrated: NDArray[np.bool_]

    def mask(self, predictions: PoolPredictions) -> NDArray[np.bool_]:
        """Return which of K boxes count, ``(K,)``."""
        return predictions.scores > self.scores.astype(np.float32)[predictions.labels]

    def by_class(self, classes: Sequence[str]) -> dict[str, float]:
        """Return the scores by class name."""
        return {name: round(score, 6) for name, score in zip(classes, self.scores.tolist())}


def cost_scores(
    setting: str | float | Mapping[str, float],
    classes: Sequence[str],
    known: Detections | None,
    annotated: NDArray[np.integer],
) -> CostScores:
    """Return the scores above which predicted boxes count.

    Args:
        setting: A number, one by class name, or `CALIBRATED`.
        classes: Names of the C classes.
        known: Detections in labelled frames, if there are any.
        annotated: ``(C,)`` annotated boxes of these frames.

    Raises:
        UserError: If a class is unknown or missing.
    """
    if setting != CALIBRATED:
        assert not isinstance(setting, str)
        return CostScores(per_class(setting, classes, 'cost_score'), np.zeros(len(classes), dtype=bool))
    if known is None:
        return CostScores(np.full(len(classes), USUAL), np.zeros(len(classes), dtype=bool))
    return calibrated_scores(known, annotated)


def calibrated_scores(known: Detections, annotated: NDArray[np.integer]) -> CostScores:
    """Return the scores above which as many boxes are predicted in labelled frames as are annotated there.

    A class with fewer than `FEWEST` annotated boxes takes the score of all classes together; if these are too few as
    well, `USUAL`. Where fewer boxes are predicted than annotated, all of them count.

    Args:
        known: Detections in labelled frames; their reliable boxes are looked at.
        annotated: ``(C,)`` annotated boxes of these frames.
    """
    scores = known.predictions.scores[known.reliable]
    labels = known.predictions.labels[known.reliable]
    enough = annotated >= FEWEST
    common = score_of_rank(scores, int(annotated.sum())) if annotated.sum() >= FEWEST else USUAL
    own = [
        score_of_rank(scores[labels == label], int(count)) if count >= FEWEST else common
        for label, count in enumerate(annotated.tolist())
    ]
    return CostScores(np.array(own), enough | (annotated.sum() >= FEWEST))


def score_of_rank(scores: NDArray[np.floating], count: int) -> float:
    """Return a score above which lie the ``count`` highest of some scores; fewer, if others equal the last one.

    >>> score_of_rank(np.array([0.9, 0.2, 0.6, 0.1]), 2), score_of_rank(np.array([0.9]), 2)
    (0.2, 0.0)
    """
    return float(np.partition(scores, len(scores) - count - 1)[len(scores) - count - 1]) if len(scores) > count else 0.0


class Estimates(NamedTuple):
    """What a budget will probably buy.

    Attributes:
        frames: Number of frames.
        boxes: Number of boxes; the budget itself where it is counted in boxes.
    """

    frames: int
    boxes: int


def estimate(
    settings: QuerySettings, labelled: NDArray[np.integer], predicted: NDArray[np.integer], classes: Sequence[str]
) -> Estimates:
    """Return what the budget will buy if the pool's frames are like the labelled ones.

    Args:
        settings: Budget and unit.
        labelled: ``(L, C)`` annotated boxes of the labelled frames; frames of the pool stand in while there are none.
        predicted: ``(F, C)`` predicted boxes of the pool's frames.
        classes: Names of the C classes.
    """
    known = labelled if labelled.any() else predicted
    cost, boxes = float(settings.pricing.prices(known, classes).sum()), int(known.sum())
    frames = math.ceil(settings.budget * len(known) / cost) if cost else len(known)
    if isinstance(settings.pricing, BoxUnit):
        return Estimates(frames, int(settings.budget))
    return Estimates(frames, round(settings.budget * boxes / cost) if cost else boxes)
