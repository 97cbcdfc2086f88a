"""Matrices applied to many points, the same bits on every number of threads."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def apply(matrix: Array | Sequence[Sequence[float]], points: Array) -> Array:
    """Apply a matrix to points.

    Written out rather than as a matrix product, whose last bits depend on the number of threads.

    Args:
        matrix: ``(R, 3)``, or ``(R, 4)`` with an offset in the last column.
        points: ``(N, 3)``.

    Returns:
        ``(N, R)``.

    >>> apply(np.array([[0.0, -1.0, 0.0, 5.0]]), np.array([[1.0, 2.0, 3.0]]))
    array([[3.]])
    """
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    columns = [x * row[0] + y * row[1] + z * row[2] + (row[3] if len(row) == 4 else 0.0) for row in np.asarray(matrix)]
    return np.stack(columns, axis=1)
