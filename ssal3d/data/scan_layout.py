"""What a scan file probably holds when its numbers cannot be a LiDAR's: another width, number type, order or unit.

Only the values are judged. In a file read with its true number of values a point, every column is a quantity of its
own (x, y, z, intensity, ...) with a distribution of its own; read with another number, all columns mix all quantities.
"""

import numpy as np
from numpy.typing import NDArray

FARTHEST_POINT = 300.0  # metres; no automotive LiDAR measures farther
STRAY_SHARE = 0.01  # share of implausible points that is put down to noise
WIDTHS = range(3, 9)  # values a point that files are known to have
_CONTRAST = 0.1  # least distance of a column from the mixture of all that tells columns from mixtures
_SAMPLE = 20_000  # points to look at
_MAGIC = {
    b'\x93NUMPY': 'a NumPy file (.npy)',
    b'# .PCD': 'a PCD file',
    b'VERSION': 'a PCD file',
    b'ply\n': 'a PLY file',
    b'ply\r': 'a PLY file',
    b'PK\x03\x04': 'a ZIP archive',
    b'\x1f\x8b': 'a gzip archive',
    b'version https:': 'a Git LFS pointer',
}


def probable_layout(points: NDArray[np.float32]) -> str:
    """Say in a few words what else the bytes of an implausible scan could be.

    Args:
        points: ``(N, F)`` the scan as it was read: little-endian float32, F values a point.

    Returns:
        For instance ``'the file probably has another number of values a point: 5 fit'``.
    """
    flat, width = np.ascontiguousarray(points).reshape(-1), points.shape[1]
    foreign, fitting = foreign_format(points), likely_width(points)
    if foreign:
        return f'the file is {foreign} under another name'
    with np.errstate(invalid='ignore'):  # other bytes read as signalling NaN
        for double in WIDTHS:
            if flat.nbytes % (8 * double) == 0 and _is_scan(np.frombuffer(flat.tobytes(), '<f8').reshape(-1, double)):
                return f'the file probably holds float64 numbers, {double} a point'
        if _is_scan(flat.view('>f4').astype(np.float64).reshape(-1, width)):
            return 'the file probably holds big-endian numbers'
    if fitting not in (None, width):
        return f'the file probably has another number of values a point: {fitting} fit, {width} were read'
    if _is_scan(flat.reshape(width, -1).T):
        return 'the file probably holds column after column instead of point after point'
    for unit, name in ((1e-2, 'centimetres'), (1e-3, 'millimetres')):
        if fitting == width and _is_near(points * np.float32(unit)):
            return f'the coordinates are probably in {name}, expected metres'
    return 'the file probably has another number of values a point, or is no scan'


def foreign_format(points: NDArray[np.float32]) -> str | None:
    """Return the format that the first bytes of a file give away; None for bare numbers.

    Args:
        points: ``(N, F)`` the file as it was read.
    """
    start = np.ascontiguousarray(points[:4]).tobytes()
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def likely_width(points: NDArray[np.floating]) -> int | None:
    """Return the number of values a point that the numbers of a scan suggest; None if they suggest nothing.

    Args:
        points: ``(N, F)`` as read; F need not be right.
    """
    flat = np.ascontiguousarray(points).reshape(-1)
    contrasts = {width: column_contrast(flat, width) for width in WIDTHS if flat.size % width == 0}
    greatest = max(contrasts.values(), default=0.0)
    if greatest < _CONTRAST:
        return None
    return next(width for width, contrast in contrasts.items() if contrast > 0.8 * greatest)


def column_contrast(values: NDArray[np.floating], width: int) -> float:
    """Return how far the columns of ``(N * width,)`` values differ from each other, in [0, 1].

    It is the mean Kolmogorov-Smirnov distance between a column and all values together: near 0 for a wrong width.
    """
    rows = values.reshape(-1, width)
    with np.errstate(invalid='ignore'):
        chosen = rows[:: max(1, len(rows) // _SAMPLE)].astype(np.float64)
    rows = np.nan_to_num(chosen, posinf=1e30, neginf=-1e30)
    positions = np.quantile(rows, np.linspace(0.01, 0.99, 50))
    pooled = np.searchsorted(np.sort(rows, axis=None), positions, side='right') / rows.size
    columns = [np.searchsorted(np.sort(column), positions, side='right') / len(rows) for column in rows.T]
    return float(np.mean([np.abs(column - pooled).max() for column in columns]))


def _is_scan(points: NDArray[np.floating]) -> bool:
    """Whether ``(N, >=3)`` numbers look like a scan: near enough, spread out, and columns of their own."""
    return (
        _is_near(points)
        and bool((np.ptp(points[:, :2], axis=0) > 1).all())
        and column_contrast(np.ascontiguousarray(points).reshape(-1), points.shape[1]) >= _CONTRAST
    )


def _is_near(points: NDArray[np.floating]) -> bool:
    with np.errstate(invalid='ignore'):
        good = (np.abs(points[:, :3]) < FARTHEST_POINT).all(axis=1)
    tiny = (np.abs(points) < 1e-12) & (points != 0)  # what the bytes of other number types read as
    return good.mean() >= 1 - STRAY_SHARE and tiny.mean() < STRAY_SHARE
