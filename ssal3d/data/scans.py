"""LiDAR scans on disk: flat float32 files, and the checks that name the frame that is not what it claims to be."""

from pathlib import Path

import numpy as np
from mmengine import fileio
from numpy.typing import NDArray

from ssal3d.data.scan_layout import FARTHEST_POINT, STRAY_SHARE, foreign_format, likely_width, probable_layout
from ssal3d.errors import UserError

USUAL_INTENSITY = 255.0  # what most sensors give at most; others are told apart from garbage
HIGHEST_INTENSITY = 1e6


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
    intensities and the other way round. A few stray points are tolerated, more than one in a hundred are not. An
    unusual scale of intensities is tolerated where the columns are clearly quantities of their own.

    Args:
        points: ``(N, >=3)`` x, y, z in metres and, if there is a fourth column, intensity.
        path: Of the scan, for the message.

    Returns:
        ``(N,)`` True for points without NaN or infinity.

    Raises:
        UserError: If no point is finite, or the values are out of range; the message names the likely cause.
    """
    # Column by column: NumPy reduces many short rows far more slowly.
    finite = np.logical_and.reduce([np.isfinite(column) for column in points.T])
    count = int(finite.sum())
    if count == 0:
        raise UserError(f'{path}: none of {len(points)} points is finite; restore the scan or leave the frame out')
    good = points if count == len(points) else points[finite]
    if foreign_format(points):
        raise UserError(f'{path}: {probable_layout(points)}; expected x, y, z, intensity as float32, convert it')
    far = np.logical_or.reduce([np.abs(column) > FARTHEST_POINT for column in good.T[:3]])
    if far.mean() > STRAY_SHARE:
        raise _implausible(path, points, far, f'lie beyond {FARTHEST_POINT:.0f} m')
    if points.shape[1] > 3:
        unusual = (good[:, 3] < 0) | (good[:, 3] > USUAL_INTENSITY)
        absurd = np.abs(good[:, 3]) > HIGHEST_INTENSITY
        if unusual.mean() > STRAY_SHARE and (absurd.mean() > STRAY_SHARE or likely_width(points) != points.shape[1]):
            raise _implausible(path, points, unusual, f'have an intensity outside [0, {USUAL_INTENSITY:.0f}]')
    return finite


def scale_intensity(points: NDArray[np.float32], highest: float, path: str | Path) -> NDArray[np.float32]:
    """Divide the intensities of a scan, so that they lie in [0, 1].

    Args:
        points: ``(N, >=4)`` finite points.
        highest: Greatest intensity of the sensor.
        path: Of the scan, for the message.

    Raises:
        UserError: If more than one point in a hundred has an intensity outside [0, highest].
    """
    outside = (points[:, 3] < 0) | (points[:, 3] > highest)
    if outside.mean() > STRAY_SHARE:
        raise UserError(
            f'{path}: {100 * outside.mean():.0f} % of the points have an intensity outside [0, {highest:g}] (from '
            f'{points[:, 3].min():g} to {points[:, 3].max():g}); give another --intensity-max'
        )
    scaled = points.copy()
    scaled[:, 3] = np.clip(points[:, 3] / np.float32(highest), 0, 1)
    return scaled


def _implausible(path: str | Path, points: NDArray[np.float32], bad: NDArray[np.bool_], what: str) -> UserError:
    expected = f'{100 * bad.mean():.0f} % of the points {what}, expected at most {100 * STRAY_SHARE:.0f} %'
    return UserError(f'{path}: {expected}; {probable_layout(points)} (x, y, z, intensity as float32 expected)')
