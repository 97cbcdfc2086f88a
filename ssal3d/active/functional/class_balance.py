"""Upper limits of boxes per class for one query (class balance sampling, Eq. 6 of the paper; spec 4.2 and 4.3).

Limits are rounded to nine decimals: a count is compared with them, and `0.3 * 150 / 3 + 1` must be 16.
"""

import numpy as np
from numpy.typing import NDArray


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
