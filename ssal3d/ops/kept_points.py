"""Copies of the points that a mask keeps, run by run: faster than row by row where most points are kept."""

from typing import Any

from ssal3d.ops.kernel import kernel


@kernel
def copy_kept(points: Any, keep: Any, result: Any) -> None:
    """Copy the kept rows of ``(N, C)`` points to a result that has room for them; both are contiguous."""
    width, source, target = points.shape[1], points.reshape(-1), result.reshape(-1)
    row, filled = 0, 0
    while row < keep.size:
        start = row
        while row < keep.size and keep[row]:
            row += 1
        size = (row - start) * width
        for k in range(size):
            target[filled + k] = source[start * width + k]
        filled += size
        while row < keep.size and not keep[row]:
            row += 1
