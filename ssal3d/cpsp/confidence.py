"""Which predictions are confident: a threshold per class from k-means on the scores.

Source: the filtering step of CPSP, S-SSAL (Wang et al. 2025, arXiv 2501.15449); see docs/deviations.md#cpsp.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ssal3d.active.functional.uncertainty import binary_entropy
from ssal3d.class_names import per_class
from ssal3d.cpsp.settings import CPSPSettings
from ssal3d.ops.boxes import overlaps_any
from ssal3d.predictions.table import Ragged


def thresholds(
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    classes: Sequence[str],
    settings: CPSPSettings,
    stable: NDArray[np.bool_] | None = None,
    previous: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return by class the score from which a prediction is confident.

    The result depends on the set of scores alone, not on their order.

    Args:
        scores: ``(K,)`` scores in [0, 1] of all predictions of the unlabelled frames.
        labels: ``(K,)`` indices into ``classes``.
        classes: Class names.
        settings: Number of clusters, measure, selection.
        stable: ``(K,)`` which predictions take part (those repeated since the last refresh); all if not given.
        previous: Thresholds of the previous generation, None at the first build. A class without a score that takes
            part keeps its previous threshold, or gets infinity, so that nothing of it is confident.
    """
    tau = {}
    for label, (name, clusters) in enumerate(zip(classes, settings.clusters(classes, previous is None))):
        of_class = labels == label if stable is None else (labels == label) & stable
        value = class_threshold(scores[of_class], clusters, settings)
        tau[name] = value if value is not None else (previous or {}).get(name, math.inf)
    return tau


class Checked(NamedTuple):
    """Confident predictions of labelled frames, by class.

    Attributes:
        right: ``(C,)`` how many overlap an annotated box of their class.
        total: ``(C,)`` how many there are.
        fails: ``(C,)`` whether too few are right, so that nothing of the class is confident.
    """

    right: NDArray[np.int64]
    total: NDArray[np.int64]
    fails: NDArray[np.bool_]


def checked_on_labels(tau: Mapping[str, float], preds: Ragged, annotations: Ragged, settings: CPSPSettings) -> Checked:
    """Compare the confident predictions of labelled frames with the annotations, class by class.

    Args:
        tau: Confident thresholds by class, in the order of the labels.
        preds: Predictions of the labelled frames, of `ssal3d.bank.generation.PREDICTION`.
        annotations: Annotated boxes of the same frames, of `ssal3d.bank.annotations.ANNOTATION`.
        settings: ``match_iou``, ``min_precision`` and ``checked_from``.
    """
    right, total = np.zeros((2, len(tau)), np.int64)
    for label, threshold in enumerate(tau.values()):
        confident = preds.where((preds.values['label'] == label) & (preds.values['score'] >= threshold))
        true = annotations.where(annotations.values['label'] == label)
        hit = overlaps_any(
            confident.values['box'], confident.offsets, true.values['box'], true.offsets, settings.match_iou
        )
        right[label], total[label] = hit.sum(), len(hit)
    least = per_class(settings.min_precision, list(tau), 'min_precision')
    return Checked(right, total, (total >= settings.checked_from) & (right < least * total))


def class_threshold(scores: NDArray[np.floating], clusters: int, settings: CPSPSettings) -> float | None:
    """Return the confident threshold of one class, None without any score that may be confident.

    Entropy is symmetric about 0.5, so the entropy route looks at scores above 0.5 only: a score of 0.1 is certainly
    background, not a certain object.

    Args:
        scores: ``(n,)`` scores.
        clusters: Number of clusters; fewer if there are fewer distinct scores.
        settings: Measure, selection, seed and starts.

    >>> scores = np.array([0.10, 0.12, 0.50, 0.52, 0.90, 0.92])
    >>> round(class_threshold(scores, 3, CPSPSettings()), 2)
    0.91
    >>> class_threshold(scores, 3, CPSPSettings(select='top_cluster'))
    0.9
    """
    scores = np.sort(scores.astype(np.float64))
    by_entropy = settings.measure == 'entropy'
    if by_entropy:
        scores = scores[scores > 0.5]
    if not len(scores):
        return None
    values = uncertainty(scores, settings.measure)
    best = _lowest_cluster(values, clusters, settings)
    if settings.select == 'top_cluster':
        return float(scores[best].min())
    mean = values[best].mean()
    centre = _score_of_entropy(mean) if by_entropy else float(scores[best].mean())
    return min(centre, float(scores[best].max()))  # rounding of the mean must not exclude the whole cluster


def uncertainty(scores: NDArray[np.floating], measure: str) -> NDArray[np.floating]:
    """Return the uncertainty of detections, decreasing in the score.

    Args:
        scores: ``(K,)`` scores in [0, 1].
        measure: ``'score'`` for one minus the score, ``'entropy'`` for the binary entropy in bits that active
            learning uses, continued below 0.5 as 2 minus it: a low score never counts as certain.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if measure == 'score':
        return 1.0 - scores
    entropy = binary_entropy(scores)
    return np.where(scores >= 0.5, entropy, 2.0 - entropy)


def _lowest_cluster(values: NDArray[np.floating], clusters: int, settings: CPSPSettings) -> NDArray[np.bool_]:
    """Return which values belong to the k-means cluster with the lowest centre."""
    from sklearn.cluster import KMeans  # takes a second to import

    clusters = min(clusters, len(np.unique(values)))
    means = KMeans(clusters, n_init=settings.n_init, random_state=settings.seed)
    with threadpool_limits(1):  # threads would add up in any order, so not to the same last bit
        means.fit(values[:, None])
    return means.labels_ == np.argmin(means.cluster_centers_[:, 0])


def _score_of_entropy(entropy: float) -> float:
    """Return the score in [0.5, 1] with a given binary entropy, by bisection to the last bit."""
    low, high = 0.5, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if binary_entropy(middle) > entropy else (low, middle)
    return high
