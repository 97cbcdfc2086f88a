"""The points of a frame as annotation tools want them: x, y, z, intensity, and nothing that is not a number."""

import numpy as np
from numpy.typing import NDArray

from ssal3d.annotation.model import LabelFrame
from ssal3d.data.folder.point_files import ScanColumns, read_points
from ssal3d.data.scans import check_plausible
from ssal3d.errors import UserError


def frame_points(frame: LabelFrame) -> NDArray[np.float32]:
    """Read a frame's scan, in any format that `ssal3d create-data folder` reads.

    Returns:
        ``(N, 4)`` finite x, y, z in metres and intensity (0 where the scan has none).

    Raises:
        UserError: If there is no scan, or it is damaged or cannot be a LiDAR's.
    """
    path = frame.scan
    if path is None:
        raise UserError(f'frame {frame.frame_id} has no scan; give the folder of the scans')
    # Only flat files need to be told how many values a point has.
    points = read_points(path, ScanColumns(load_dim=frame.load_dim if path.suffix.lower() == '.bin' else None))
    return np.ascontiguousarray(points[check_plausible(points, path)])
