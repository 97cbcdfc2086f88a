"""LiDAR scans on disk: flat float32 files, and the checks that name the frame that is not what it claims to be."""

from pathlib import Path

import numpy as np
from mmengine import fileio
from numpy.typing import NDArray

from ssal3d.errors import UserError

FARTHEST_POINT = 300.0  # metres; no automotive LiDAR measures farther
HIGHEST_INTENSITY = 255.0
STRAY_SHARE = 0.01  # share of implausible points that is put down to noise


def check_scan_size(path: str | Path, size: int, num_features: int, expected_points: int | None = None) -> None:
    """Check a scan's size before reading it.

    Args:
        path: Of the scan, for the message.
        size: Bytes in the file.
        num_features: float32 values a point.
        expected_points: Number of points, if it is known.

    Raises:
        UserError: If the file is empty, ends inside a point or holds another number of points.
    """
    stride = 4 * num_features
    if size == 0:
        raise UserError(f'{path}: found an empty file, expected points; restore the scan or leave the frame out')
    if size % stride:
        raise UserError(
            f'{path}: found {size} bytes, expected a multiple of {stride} ({num_features} float32 values a point); '
            'the file is cut or has another number of values a point; copy it again'
        )
    if expected_points is not None and size != expected_points * stride:
        raise UserError(
            f'{path}: found {size // stride} points, expected {expected_points} as recorded when the data was '
            'converted; the file is cut or was replaced; restore it or run `ssal3d create-data` again'
        )


def read_scan(path: str | Path, num_features: int = 4, backend_args: dict | None = None) -> NDArray[np.float32]:
    """Read a scan as ``(N, num_features)`` float32: x, y, z in metres, then intensity and whatever else there is.

    Args:
        path: A local file or any address that mmengine's file backends know.
        num_features: Values a point.
        backend_args: Of the file backend.

    Raises:
        UserError: If the file is missing, is empty or ends inside a point.
    """
    try:
        content = fileio.get(str(path), backend_args)
    except FileNotFoundError:
        raise UserError(f'{path}: no such file; download the scans again or leave the frame out') from None
    check_scan_size(path, len(content), num_features)
    return np.frombuffer(content, dtype=np.float32).reshape(-1, num_features).copy()


def check_plausible(points: NDArray[np.float32], path: str | Path) -> NDArray[np.bool_]:
    """Find the points that are numbers, and refuse a scan whose numbers cannot be a LiDAR's.

    A file with another number of values a point reads without any error, as garbage: coordinates in the place of
    intensities and the other way round. A few stray points are tolerated, more than one in a hundred are not.

    Args:
        points: ``(N, >=3)`` x, y, z in metres and, if there is a fourth column, intensity in [0, 255].
        path: Of the scan, for the message.

    Returns:
        ``(N,)`` True for points without NaN or infinity.

    Raises:
        UserError: If no point is finite, or the values are out of range.
    """
    # Column by column: NumPy reduces many short rows far more slowly.
    finite = np.logical_and.reduce([np.isfinite(column) for column in points.T])
    count = int(finite.sum())
    if count == 0:
        raise UserError(f'{path}: none of {len(points)} points is finite; restore the scan or leave the frame out')
    good = points if count == len(points) else points[finite]
    far = np.logical_or.reduce([np.abs(column) > FARTHEST_POINT for column in good.T[:3]])
    _check_share(path, far, f'lie beyond {FARTHEST_POINT:.0f} m')
    if points.shape[1] > 3:
        outside = (good[:, 3] < 0) | (good[:, 3] > HIGHEST_INTENSITY)
        _check_share(path, outside, f'have an intensity outside [0, {HIGHEST_INTENSITY:.0f}]')
    return finite


def _check_share(path: str | Path, implausible: NDArray[np.bool_], what: str) -> None:
    share = float(implausible.mean())
    if share > STRAY_SHARE:
        raise UserError(
            f'{path}: {100 * share:.0f} % of the points {what}, expected at most {100 * STRAY_SHARE:.0f} %; the file '
            'probably has another number of values a point (x, y, z, intensity as float32 expected)'
        )
