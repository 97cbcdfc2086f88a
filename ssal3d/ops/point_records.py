"""Points as records, whose distance in memory the compiler knows: it lets kernels work on several points at a time."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def point_records(points: NDArray[np.floating]) -> NDArray:
    """Return ``(N,)`` records ``x``, ``y``, ``z`` of ``(N, >=3)`` points; a view where they are contiguous.

    >>> point_records(np.arange(8.0).reshape(2, 4))['y'].tolist()
    [1.0, 5.0]
    """
    points = np.ascontiguousarray(points)
    return points.view(_record(points.dtype, points.shape[1]))[:, 0]


@lru_cache
def _record(dtype: np.dtype, columns: int) -> np.dtype:
    offsets = [axis * dtype.itemsize for axis in range(3)]
    return np.dtype(
        {'names': ['x', 'y', 'z'], 'formats': [dtype] * 3, 'offsets': offsets, 'itemsize': columns * dtype.itemsize}
    )
