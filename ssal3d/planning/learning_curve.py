"""A power law through the AP of detectors that learnt from more and more boxes, with intervals.

The error ``100 - AP`` of a detector falls with the number n of labelled objects about as ``a * n ** -b`` over a decade
or two (Hestness et al., "Deep Learning Scaling is Predictable, Empirically", arXiv 1712.00409). In logarithms that is a
straight line, fitted by least squares; intervals are Student's, of the line's slope and of its mean at a given n.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isinf, sqrt

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import UserError

FEWEST = 3  # numbers of boxes that a line with an interval needs
FARTHEST = 10.0  # times the most boxes so far; a line that was fitted over a decade says nothing beyond


@dataclass(frozen=True)
class Curve:
    """A fitted learning curve: ``100 - AP = exp(level) * n ** -slope``.

    Attributes:
        boxes: ``(N,)`` labelled boxes n.
        values: ``(N,)`` AP in %.
        level: Of the line in logarithms.
        slope: b; greater than 0 for a detector that learns.
        slope_interval: Of the slope, at ``confidence``.
        confidence: In (0, 1).
        scatter: Standard deviation of the logarithm of the error around the line.
    """

    boxes: NDArray[np.float64]
    values: NDArray[np.float64]
    level: float
    slope: float
    slope_interval: tuple[float, float]
    confidence: float
    scatter: float

    @property
    def is_flat(self) -> bool:
        """Whether the data cannot tell that more boxes help."""
        return self.slope_interval[0] <= 0

    def predicted(self, boxes: float) -> tuple[float, float, float]:
        """Return the expected AP for a number of boxes, and the ends of its interval.

        Args:
            boxes: Number of labelled boxes, greater than 0.
        """
        places = np.log(self.boxes)
        centre, spread = places.mean(), ((places - places.mean()) ** 2).sum()
        error = self.scatter * sqrt(1 / len(places) + (np.log(boxes) - centre) ** 2 / spread)
        reach = error * _quantile(self.confidence, len(places) - 2)
        middle = self.level - self.slope * np.log(boxes)
        best, low, high = (100 - float(np.exp(value)) for value in (middle, middle + reach, middle - reach))
        return best, low, high


@dataclass(frozen=True)
class Need:
    """Boxes for a target.

    Attributes:
        boxes: As the line says; infinite if it never gets there.
        low: Fewest within the interval; 0 if the interval begins above the target.
        high: Most within the interval; infinite if its lower end never gets there.
        is_far: Whether ``boxes`` is more than `FARTHEST` times what was labelled so far.
    """

    boxes: float
    low: float
    high: float
    is_far: bool


def fit_curve(boxes: Sequence[float], values: Sequence[float], confidence: float = 0.9) -> Curve:
    """Fit the power law.

    Args:
        boxes: Labelled boxes of each detector, greater than 0.
        values: Its AP in %, in [0, 100).
        confidence: Of the intervals, in (0, 1).

    Raises:
        UserError: If there are fewer than three different numbers of boxes, or a value is out of range.
    """
    n, ap = np.asarray(boxes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    different = len(np.unique(n))
    if different < FEWEST:
        raise UserError(
            f'learning curve: found {different} different numbers of labelled boxes, expected at least {FEWEST}; run more '
            'rounds, or name further work dirs'
        )
    if (n <= 0).any() or (ap < 0).any() or (ap >= 100).any():
        raise UserError('learning curve: found boxes of 0 or an AP outside [0, 100), expected numbers in these ranges')
    x, y = np.log(n), np.log(100 - ap)
    centred = x - x.mean()
    spread = (centred**2).sum()
    rise = float((centred * y).sum() / spread)
    residual = y - y.mean() - rise * centred
    scatter = sqrt(float((residual**2).sum()) / (len(x) - 2))
    reach = _quantile(confidence, len(x) - 2) * scatter / sqrt(spread)
    return Curve(n, ap, float(y.mean() - rise * x.mean()), -rise, (-rise - reach, -rise + reach), confidence, scatter)


def boxes_for(curve: Curve, target: float) -> Need:
    """Return how many boxes the curve needs for an AP.

    Args:
        curve: What `fit_curve` returned.
        target: AP in %, in (0, 100).

    Raises:
        UserError: If the target is out of range.
    """
    if not 0 < target < 100:
        raise UserError(f'--target: found {target:g}, expected an AP in % between 0 and 100')
    most = float(curve.boxes.max())
    if curve.slope > 0:
        exponent = (curve.level - np.log(100 - target)) / curve.slope
        boxes = float(np.exp(exponent)) if exponent < 600 else inf
    else:
        boxes = 0.0 if curve.predicted(most)[0] >= target else inf
    grid = most * FARTHEST ** np.linspace(-3, 3, 601)
    ends = np.array([curve.predicted(float(n))[1:] for n in grid])
    above = [np.flatnonzero(column >= target) for column in ends.T]
    high, low = (float(grid[found[0]]) if len(found) else inf for found in above)
    if isinf(low) and boxes < inf:  # beyond the grid: the better end gets there before the line does
        farther = np.geomspace(float(grid[-1]), max(boxes, float(grid[-1])), 601)
        low = next((float(n) for n in farther if curve.predicted(float(n))[2] >= target), boxes)
    return Need(boxes, 0.0 if low == grid[0] else min(low, boxes), max(high, boxes), boxes > FARTHEST * most)


def _quantile(confidence: float, degrees: int) -> float:
    """Return how many standard errors Student's two-sided interval reaches."""
    from scipy import stats  # comes with scikit-learn; slow to import

    return float(stats.t.ppf((1 + confidence) / 2, degrees))
