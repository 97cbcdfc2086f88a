"""How unsure a detector is: entropies of boxes, and their mean or maximum over a frame."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

CLAMP = 1e-6  # float32 sigmoids reach exactly 0 and 1, where the entropy would be NaN


def binary_entropy(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Return the entropy of yes/no probabilities in bits, elementwise, in [0, 1].

    >>> binary_entropy([0.5, 0.8]).round(5).tolist()
    [1.0, 0.72193]
    """
    p = np.clip(np.asarray(probabilities, dtype=np.float64), CLAMP, 1 - CLAMP)
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def softmax_entropy(logits: ArrayLike) -> NDArray[np.float64]:
    """Return the entropy of the softmax of each row in nats.

    Args:
        logits: ``(N, C)`` class logits.

    Returns:
        ``(N,)`` entropies in [0, ln C].

    >>> softmax_entropy([[0, 0, 0], [2, 0, 0]]).round(4).tolist()
    [1.0986, 0.6656]
    """
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True, initial=-np.inf)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    log_p = shifted - np.log(total)
    return -(np.exp(log_p) * log_p).sum(axis=1)


def frame_mean(values: NDArray[np.floating], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of each frame's boxes; -inf, the lowest priority, for frames without boxes.

    Args:
        values: ``(K,)`` values of all boxes.
        offsets: ``(F + 1,)`` position of each frame's first box.

    Returns:
        ``(F,)`` means, rounded to 12 decimals so that the last bits of a sum do not decide ties between frames.
    """
    return (_reduced(np.add, values, offsets) / np.maximum(np.diff(offsets), 1)).round(12)


def frame_max(values: NDArray[np.floating], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the largest of each frame's ``(K,)`` values; -inf for frames without boxes."""
    return _reduced(np.maximum, values, offsets)


def _reduced(reduce: np.ufunc, values: NDArray[np.floating], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ``reduce`` over each frame's values; -inf for frames without boxes."""
    result = np.full(len(offsets) - 1, -np.inf)
    some = np.diff(offsets) > 0
    if some.any():
        result[some] = reduce.reduceat(np.asarray(values, dtype=np.float64), offsets[:-1][some])
    return result
