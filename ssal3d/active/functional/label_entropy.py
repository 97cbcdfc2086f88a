"""How evenly a frame's boxes spread over the classes: first stage of CRB (arXiv 2301.09249), also used by KECOR."""

import numpy as np
from numpy.typing import NDArray

from ssal3d.options import one_of

MODES = ('crb_code', 'crb_paper', 'shannon')


def label_entropy(counts: NDArray[np.integer], mode: str = 'crb_code') -> NDArray[np.float64]:
    """Return the entropy of the class distribution of each frame, in nats, in [0, ln C].

    The modes rank frames differently: the code of CRB gives frames with a single box the maximum.

    Args:
        counts: ``(F, C)`` boxes of each class.
        mode: How counts n make a distribution: ``'crb_code'``: n, or 1 for absent classes, normalised; ``'crb_paper'``:
            softmax of n / sum(n); ``'shannon'``: n / sum(n).

    Returns:
        ``(F,)`` entropies, 0 for frames without boxes, rounded to 12 decimals so that the order of the classes does not
        decide ties.

    >>> counts = np.array([[1, 0, 0], [8, 2, 0], [0, 0, 0]])
    >>> label_entropy(counts).round(4).tolist(), label_entropy(counts, 'shannon').round(4).tolist()
    ([1.0986, 0.7595, 0.0], [0.0, 0.5004, 0.0])
    """
    one_of('label_entropy', mode, MODES)
    counts = np.asarray(counts, dtype=np.float64)
    boxes = counts.sum(axis=1, keepdims=True)
    if mode == 'crb_code':
        weights = np.maximum(counts, 1)
    elif mode == 'crb_paper':
        weights = np.exp(counts / np.maximum(boxes, 1))
    else:
        weights = counts
    totals = weights.sum(axis=1, keepdims=True)
    p = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)
    entropies = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)
    return np.where(boxes[:, 0] > 0, entropies, 0).round(12) + 0.0  # no negative zero
