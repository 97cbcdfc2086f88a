"""What is drawn of a frame: predictions of any frame, annotations of bought ones alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.label_state import LabelState
from ssal3d.predictions import PoolPredictions
from ssal3d.report.pool import Pool
from ssal3d.report.scenes import QUERY, REFERENCE, TRUE, Layer, View

SHOWN_SCORE = 0.3  # predicted boxes below it are not drawn
LETTERS = 3  # of a class name that are written beside a true box
STYLES = ((QUERY, '-'), (REFERENCE, '--'), ('#7b3294', '-.'), ('#a6611a', ':'))  # the last model first


def frame_view(
    pool: Pool,
    labels: LabelState | None,
    predictions: Mapping[str, PoolPredictions],
    frame: str,
    min_score: float = SHOWN_SCORE,
    doubtful: NDArray[np.floating] | None = None,
) -> View:
    """Return what is drawn of a frame: predictions, and what is true if and only if it was bought.

    Args:
        pool: Frames that may be drawn.
        labels: What was bought; None for nothing.
        predictions: By model, the last model last.
        frame: Frame id.
        min_score: Predicted boxes must have a higher score.
        doubtful: ``(K, 7)`` boxes to be marked.
    """
    layers = predicted_layers(predictions, frame, min_score)
    marked = np.zeros((0, 7)) if doubtful is None else doubtful
    if labels is None or frame not in set(labels.frame_ids):
        return View(pool.points(frame), layers, marked, camera=pool.camera(frame))
    regions = pool.dontcare_regions(frame, labels.frame_ids)
    return View(pool.points(frame), [true_layer(pool, labels, frame), *layers], marked, regions, pool.camera(frame))


def true_layer(pool: Pool, labels: LabelState, frame: str) -> Layer:
    """Return the annotated boxes of a bought frame, which are refused for any other.

    Args:
        pool: Frames that may be drawn.
        labels: What was bought.
        frame: Frame id.
    """
    truth = pool.bought([frame], labels.frame_ids, labels.classes)
    in_classes = truth.labels >= 0
    names = [labels.classes[label][:LETTERS] for label in truth.labels[in_classes]]
    return Layer('true', truth.boxes[in_classes], TRUE, width=1.8, names=names)


def predicted_layers(
    predictions: Mapping[str, PoolPredictions], frame: str, min_score: float = SHOWN_SCORE
) -> Sequence[Layer]:
    """Return the boxes that models predict in a frame, the last model's first; without those that did not predict it.

    Args:
        predictions: By model.
        frame: Frame id.
        min_score: Boxes must have a higher score.
    """
    layers = []
    for number, (name, found) in enumerate(reversed(list(predictions.items()))):
        position = found.index().get(frame)
        if position is not None:
            span = found.boxes_of(position)
            colour, style = STYLES[number % len(STYLES)]
            layers.append(Layer(name, found.boxes[span][found.scores[span] > min_score], colour, style))
    return layers
