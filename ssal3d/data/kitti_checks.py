"""Mistakes that are common in KITTI folders: identity matrices for calibrations, labels in another frame."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data import plausibility
from ssal3d.data.infos import frame_id
from ssal3d.data.kitti_format import Calibration, info_boxes_to_lidar
from ssal3d.data.label_checks import usual_mistakes, wrong_axes, wrong_units
from ssal3d.data.label_fit import LabelledScan
from ssal3d.data.plausibility import Info, lidar_scan, raw_boxes

Array = NDArray[np.floating]

_LEAST_IN_VIEW = 0.01  # share of a data set's points that the camera sees; 0.15 in the official scans
_SHORTEST_FOCUS = 50.0  # pixels


def calibration_fault(calibration: Calibration) -> str | None:
    """Return why a calibration cannot be a camera's that looks along the road; None if it can."""
    axis = calibration.lidar_to_camera[2, :3]
    if abs(axis[2]) > 0.9:
        return (
            'the camera of this calibration looks along the z axis of the LiDAR, so its matrices are probably mere '
            'identities; without a camera remove the folder calib and say with --label-frame how labels are to be read'
        )
    if calibration.matrices['P2'][0, 0] < _SHORTEST_FOCUS:
        return f'P2 has a focal length of {calibration.matrices["P2"][0, 0]:g} pixels; it is probably an identity'
    return None


def view_fault(points: int, kept: int) -> str | None:
    """Return why a split's scans cannot belong to its cameras; None if they can.

    Args:
        points: Points in the scans.
        kept: Points that a camera sees.
    """
    if kept >= _LEAST_IN_VIEW * points:
        return None
    return f'only {100 * kept / points:.1f} % of the points are in the camera view; likely cause: a wrong calibration'


def label_faults(infos: Sequence[Info], names: Mapping[int, str], read_points: Callable[[str], Array]) -> list[str]:
    """Return what cannot be right about a split's labels, each with its likely cause.

    Args:
        infos: Converted frames of one kind: all with a camera, or none.
        names: Class names by label.
        read_points: Reads the converted scan of a frame.
    """
    camera = has_camera(infos)
    return plausibility.label_faults(
        infos,
        names,
        lambda info: (_camera_scan if camera else lidar_scan)(info, read_points(frame_id(info))),
        {**(_wrong_frames() if camera else wrong_axes()), **wrong_units(), **usual_mistakes(on_bottom=camera)},
        in_image if camera else None,
    )


def has_camera(infos: Sequence[Info]) -> bool:
    """Whether frames have a calibrated camera."""
    return any('CAM2' in info.get('images', {}) for info in infos)


def in_image(entry: Mapping[str, Any], info: Info) -> bool:
    """Whether the camera sees the centre of an instance."""
    camera, (u, v) = info['images']['CAM2'], entry['center_2d']
    return entry['depth'] > 0 and 0 <= u <= camera['width'] and 0 <= v <= camera['height']


def _camera_scan(info: Info, points: Array) -> LabelledScan:
    raw, to_camera = raw_boxes(info), np.array(info['images']['CAM2']['lidar2cam'])

    def read(rows: Array) -> Array:
        return info_boxes_to_lidar(rows, to_camera)

    return LabelledScan(frame_id(info), points, read(raw), raw, read)


def _wrong_frames() -> dict[str, Callable[[LabelledScan], Array]]:
    """Return ways in which labels that were read in the camera frame may stand in the LiDAR frame."""

    def in_lidar_frame(scan: LabelledScan, raised: float, yaw: Array) -> Array:
        x, y, z, length, height, width, _ = scan.raw.T
        return np.column_stack((x, y, z + raised * height, length, width, height, yaw))

    lidar = 'labels in the LiDAR frame (see --label-frame)'
    return {
        lidar: lambda scan: in_lidar_frame(scan, 0.0, scan.raw[:, 6]),
        f'{lidar}, bottom centre': lambda scan: in_lidar_frame(scan, 0.5, scan.raw[:, 6]),
        f'{lidar}, angle as in the camera frame': lambda scan: in_lidar_frame(scan, 0.0, -scan.raw[:, 6] - np.pi / 2),
    }
