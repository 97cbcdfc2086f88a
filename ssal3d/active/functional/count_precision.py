"""How many of the boxes that are counted in a frame are there: a precision that needs counts alone, no positions."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FEWEST = 10  # predicted boxes of a class from which on a precision means something


class CountPrecision(NamedTuple):
    """Precision of counts.

    Attributes:
        of_class: ``(C,)`` shares in [0, 1]; NaN for a class with fewer than `FEWEST` predicted boxes.
        boxes: ``(C,)`` predicted boxes that they rest on.
    """

    of_class: NDArray[np.float64]
    boxes: NDArray[np.int64]


def count_precision(
    predicted: NDArray[np.integer], annotated: NDArray[np.integer], fewest: int = FEWEST
) -> CountPrecision:
    """Return the share of predicted boxes that have a counterpart in their frame: ``sum min(p, a) / sum p`` by class.

    Boxes are compared by number, not by place, so that it is an upper bound of the precision, and reached where
    detections are either in place or of things that are not in the frame at all.

    Args:
        predicted: ``(F, C)`` predicted boxes of labelled frames.
        annotated: ``(F, C)`` their annotated boxes.
        fewest: Predicted boxes of a class that a precision takes.

    >>> count_precision(np.array([[4, 12], [2, 0]]), np.array([[3, 1], [5, 7]]), 5).of_class.round(3).tolist()
    [0.833, 0.083]
    """
    boxes = predicted.sum(axis=0)
    right = np.minimum(predicted, annotated).sum(axis=0)
    return CountPrecision(np.where(boxes >= fewest, right / np.maximum(boxes, 1), np.nan), boxes)
