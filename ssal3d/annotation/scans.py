"""The points of a frame as annotation tools want them: x, y, z, intensity, and nothing that is not a number."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssal3d.annotation.model import LabelFrame
from ssal3d.arrays import load_array
from ssal3d.data.scans import check_plausible, read_scan
from ssal3d.errors import UserError

SUFFIXES = ('.bin', '.npy')


def frame_points(frame: LabelFrame) -> NDArray[np.float32]:
    """Read a frame's scan.

    Returns:
        ``(N, 4)`` finite x, y, z in metres and intensity (0 where the scan has none).

    Raises:
        UserError: If there is no scan, or it is damaged or cannot be a LiDAR's.
    """
    path = frame.scan
    if path is None:
        raise UserError(f'frame {frame.frame_id} has no scan; give the folder of the scans')
    points = _read_npy(path) if path.suffix == '.npy' else read_scan(path, frame.load_dim)
    points = points[:, :4]
    if points.shape[1] == 3:
        points = np.column_stack((points, np.zeros(len(points), dtype=np.float32)))
    return np.ascontiguousarray(points[check_plausible(points, path)], dtype=np.float32)


def _read_npy(path: Path) -> NDArray[np.float32]:
    try:
        points = load_array(path, 'write it again')
    except FileNotFoundError:
        raise UserError(f'{path}: no such file; restore the scan or leave the frame out') from None
    if points.ndim != 2 or points.shape[1] < 3 or points.dtype.kind not in 'fiu':
        raise UserError(f'{path}: found {points.dtype} of shape {points.shape}, expected numbers of shape (N, >=3)')
    return points.astype(np.float32)
