"""How well scores say how often detections are right: expected calibration errors and reliability diagrams.

The detection expected calibration error (D-ECE) is that of Küppers et al., Multivariate Confidence Calibration for
Object Detection, CVPR Workshops 2020 (arXiv 2004.13546): detections are sorted into bins of equal width over their
confidence, and optionally over position and size; the gap between precision and mean confidence of a bin counts with
the share of detections in it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Matched = NDArray[np.bool_]

# The four ranges of confidence in Fig. 7 of the S-SSAL paper: the two in the middle are what active learning asks for.
FIG7_EDGES = (0.0, 0.3, 0.5, 0.8, 1.0)
# Scores are float32, where 0.95 is 0.94999999: what is within the rounding of an edge belongs to the bin above.
_EDGE_TOLERANCE = 5e-8


def bin_numbers(values: Array, edges: Sequence[float]) -> NDArray[np.int64]:
    """Return the bin of each value: ``[edge, next edge)``, the last bin with its upper edge.

    Args:
        values: ``(N,)`` numbers; what is outside the edges goes to the first or last bin.
        edges: ``(B + 1,)`` ascending.

    >>> bin_numbers(np.array([0.0, 0.299, 0.3, 1.0]), FIG7_EDGES).tolist()
    [0, 0, 1, 3]
    """
    inner = np.asarray(edges, dtype=np.float64)[1:-1] - _EDGE_TOLERANCE
    return np.searchsorted(inner, np.asarray(values, dtype=np.float64), side='right')


def d_ece(matched: Matched, features: Array, bins: int, min_samples: int = 8) -> float:
    """Return the detection expected calibration error.

    Args:
        matched: ``(N,)`` detections that are right.
        features: ``(N, K)`` in [0, 1]: the confidence first, then what else to bin over, e.g. position and size.
        bins: Bins of equal width for every feature.
        min_samples: Bins with fewer detections add nothing to the error, but their detections stay in the total.

    Returns:
        ``sum over bins of count / N * |precision - mean confidence|`` in [0, 1]; NaN without detections. O(N log N).

    >>> d_ece(np.array([True, False]), np.array([[0.5], [0.5]]), bins=10, min_samples=1)
    0.0
    """
    features = np.asarray(features, dtype=np.float64)
    if not len(features):
        return float('nan')
    cell, count = _cells(features, bins)
    gap = np.abs(np.bincount(cell, matched) - np.bincount(cell, features[:, 0]))  # times the count of the bin
    return float(gap[count >= min_samples].sum() / len(features))


def detections_that_count(features: Array, bins: int, min_samples: int) -> int:
    """Return how many detections lie in bins that add to the error of `d_ece`; if none does, its 0 measures nothing.

    Args:
        features: ``(N, K)`` as `d_ece` takes them.
        bins: Bins of equal width for every feature.
        min_samples: Bins with fewer detections do not count.
    """
    _, count = _cells(np.asarray(features, dtype=np.float64), bins)
    return int(count[count >= min_samples].sum())


def _cells(features: Array, bins: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bin of every detection, and the detections of every bin that has any."""
    edges = np.linspace(0, 1, bins + 1).tolist()
    cell = np.zeros(len(features), dtype=np.int64)
    for column in features.T:
        cell = cell * bins + bin_numbers(column, edges)
    # Only bins with detections are kept: 5 features of 5 bins each would be 3125.
    _, cell = np.unique(cell, return_inverse=True)
    return cell, np.bincount(cell)


def reliability(scores: Array, matched: Matched, edges: Sequence[float]) -> list[dict[str, Any]]:
    """Return the data of a reliability diagram.

    Args:
        scores: ``(N,)`` confidences.
        matched: ``(N,)`` detections that are right.
        edges: ``(B + 1,)`` borders of the bins.

    Returns:
        For each bin ``low``, ``high``, ``count``, mean ``confidence`` and ``precision``, None in an empty bin. The
        counts sum to N.
    """
    cell = bin_numbers(scores, edges)
    count, right, total = (
        np.bincount(cell, weights, len(edges) - 1) for weights in (None, matched, np.asarray(scores, dtype=np.float64))
    )
    return [
        {
            'low': float(low),
            'high': float(high),
            'count': int(number),
            'confidence': float(confidence / number) if number else None,
            'precision': float(hits / number) if number else None,
        }
        for low, high, number, hits, confidence in zip(edges[:-1], edges[1:], count, right, total, strict=True)
    ]


def scaled(values: Array, low: Array | float, high: Array | float) -> Array:
    """Bring values to [0, 1]: ``low`` becomes 0 and ``high`` 1, what lies outside is clipped."""
    span = np.maximum(np.asarray(high, dtype=np.float64) - low, 1e-9)
    return np.clip((np.asarray(values, dtype=np.float64) - low) / span, 0, 1)
