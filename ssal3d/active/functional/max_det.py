"""Greedy determinant maximisation: rows that differ from each other, as an order without an end set (spec 5.9)."""

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NEGLIGIBLE = 1e-12  # share of the highest first score below which nothing but rounding is left

TIE = 1e-5  # relative difference of scores that may be rounding, as features come from float32 products


def max_det_order(
    features: NDArray[np.float64], bonus: NDArray[np.float64], sigma: float, rng: random.Random
) -> Iterator[tuple[int, float | None]]:
    """Yield rows, and the scores that they were picked for, so that each pick raises a determinant most.

    The determinant is that of the picked rows and columns of ``features @ features.T + diag(sigma^2 + bonus)``; up to
    constants, its logarithm is the kernel coding rate. A score is the factor that a row contributes: what its inner
    product with itself is once the picked rows are known; of equal scores the first row is picked. O(N M + M^2) per
    pick, however many were picked before: instead of the Cholesky factor's columns, the M x M covariance of the weights
    is kept.

    Args:
        features: ``(N, M)`` rows.
        bonus: ``(N,)`` what is added to the inner product of a row with itself.
        sigma: Standard deviation of the noise.
        rng: Orders the rows that are left when no score is positive; they have None for a score.
    """
    features = np.ascontiguousarray(features, dtype=np.float64)
    scores = np.einsum('nm,nm->n', features, features) + sigma**2 + bonus
    covariance = np.eye(features.shape[1])
    least = NEGLIGIBLE * float(scores.max(initial=0))
    open_rows = np.ones(len(features), dtype=bool)
    for _ in range(len(features)):
        highest = float(scores.max())
        if highest <= least:
            break
        pick = int((scores >= (1 - TIE) * highest).argmax())
        score = float(scores[pick])
        yield pick, score
        open_rows[pick] = False
        direction = covariance @ features[pick] / np.sqrt(score)
        covariance -= np.outer(direction, direction)
        scores -= np.square(features @ direction)
        scores[pick] = -np.inf
    left = np.flatnonzero(open_rows).tolist()
    rng.shuffle(left)
    for pick in left:
        yield pick, None
