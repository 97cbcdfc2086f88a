"""Loops over the long rows of KECOR's proxy: hashing of features, steps of Adam."""

from typing import Any

import numpy as np

from ssal3d.ops.kernel import kernel


@kernel
def add_signed(rows: Any, places: Any, signs: Any, sums: Any) -> None:
    """Add each value of ``(N, B)`` rows, with its sign of ``(B,)``, to the sum at its place of ``(B,)``."""
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            sums[row, places[column]] += signs[column] * rows[row, column]


@kernel(error_model='numpy')
def adam_step(values: Any, gradient: Any, mean: Any, square: Any, factors: Any, first: bool) -> None:
    """Make one step of Adam in place; moments are sums without their constant factors, set by the first step.

    Factors are the decays of both moments, epsilon and the rate, with their corrections.
    """
    beta1, beta2, epsilon, rate = factors
    for i in range(values.size):
        slope = gradient[i]
        if first:
            mean[i], square[i] = slope, slope * slope
        else:
            mean[i] = mean[i] * beta1 + slope
            square[i] = square[i] * beta2 + slope * slope
        values[i] -= mean[i] / (np.sqrt(square[i]) + epsilon) * rate


def _warm_up() -> None:
    rows, places, ones = np.ones((2, 2), np.float32), np.zeros(1, np.int32), np.ones(1, np.float32)
    for block in (rows[:, :1], rows[:, :1].copy()):  # the last block of a row is a part of an array
        add_signed(block, places, ones, np.zeros((2, 1), np.float32))
    adam_step(ones.copy(), ones.copy(), ones.copy(), ones.copy(), np.ones(4, np.float32), True)
