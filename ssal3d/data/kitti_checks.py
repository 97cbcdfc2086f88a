"""Whether the calibrations and labels of a KITTI folder can belong to its scans.

What converts without an error can still be wrong: LiDAR-only data with identity matrices for calibration, labels that a
tool exported in the LiDAR frame, in degrees or in centimetres, or labels of another frame.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.infos import frame_id
from ssal3d.data.kitti_format import NOMINAL_CAMERA, Calibration, info_boxes_to_lidar
from ssal3d.data.label_checks import FEWEST_BOXES, check_fit, check_numbers, in_runs, usual_mistakes
from ssal3d.data.label_fit import LabelledScan

Array = NDArray[np.floating]
Info = dict[str, Any]

SAMPLE = 60  # labelled frames that are compared with their scans
_MOST_OUTSIDE = 0.25  # share of the boxes outside the image; 0.05 in the official labels
_LEAST_IN_VIEW = 0.01  # share of a data set's points that the camera sees; 0.15 in the official scans
_CLASS_BOXES, _LEAST_OF_CLASS = 20, 0.2  # a class with so many boxes of which fewer hold a point
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


def label_faults(infos: Sequence[Info], names: Mapping[int, str], read_points: Callable[[str], Array]) -> list[str]:
    """Return what cannot be right about a split's labels, each with its likely cause.

    Args:
        infos: Converted frames; those without labels are passed over.
        names: Class names by label.
        read_points: Reads the converted scan of a frame.
    """
    frames = [info for info in infos if 'instances' in info]
    rows = [entry for info in frames for entry in _objects(info)]
    if len(rows) < FEWEST_BOXES:
        return []
    raw = np.array([entry['bbox_3d'] for entry in rows])
    chosen = [frames[position] for position in in_runs(len(frames), SAMPLE)]
    found = [
        check_numbers(raw[:, 3:6], raw[:, 6]),
        _outside(frames, len(rows)),
        *_empty_classes(rows, names),
        check_fit(
            [_scan(info, read_points(frame_id(info))) for info in chosen], _mistakes(_has_camera(frames[0]))
        ).fault,
    ]
    return [fault for fault in found if fault]


def view_fault(points: int, kept: int) -> str | None:
    """Return why a split's scans cannot belong to its cameras; None if they can.

    Args:
        points: Points in the scans.
        kept: Points that a camera sees.
    """
    if kept >= _LEAST_IN_VIEW * points:
        return None
    return f'only {100 * kept / points:.1f} % of the points are in the camera view; likely cause: a wrong calibration'


def box_table(infos: Sequence[Info], names: Mapping[int, str]) -> Iterator[tuple[str, int, int, int | None]]:
    """Count the labelled boxes by class.

    Args:
        infos: Converted frames.
        names: Class names by label.

    Yields:
        Class name, boxes, boxes without points, boxes whose centre is outside the image (None without cameras).
    """
    boxes, empty, outside = Counter[str](), Counter[str](), Counter[str]()
    cameras = False
    for info in infos:
        cameras = cameras or _has_camera(info)
        for entry in _objects(info):
            name = names[entry['bbox_label_3d']]
            boxes[name] += 1
            empty[name] += entry['num_lidar_pts'] == 0
            outside[name] += _has_camera(info) and not _is_in_image(entry, info)
    for name in names.values():
        if boxes[name]:
            yield name, boxes[name], empty[name], outside[name] if cameras else None


def _objects(info: Info) -> list[dict[str, Any]]:
    return [entry for entry in info.get('instances', ()) if entry['bbox_label_3d'] >= 0]


def _has_camera(info: Info) -> bool:
    return 'CAM2' in info.get('images', {})


def _is_in_image(entry: Mapping[str, Any], info: Info) -> bool:
    camera, (u, v) = info['images']['CAM2'], entry['center_2d']
    return entry['depth'] > 0 and 0 <= u <= camera['width'] and 0 <= v <= camera['height']


def _outside(frames: Sequence[Info], total: int) -> str | None:
    outside = sum(not _is_in_image(entry, info) for info in frames if _has_camera(info) for entry in _objects(info))
    if outside <= _MOST_OUTSIDE * total:
        return None
    return (
        f'the camera does not see {100 * outside / total:.0f} % of {total} boxes; likely cause: labels in the LiDAR '
        'frame, or of the whole turn of the LiDAR (`tools/create_data.py folder` keeps whole scans)'
    )


def _empty_classes(rows: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> Iterator[str]:
    boxes = Counter(entry['bbox_label_3d'] for entry in rows)
    filled = Counter(entry['bbox_label_3d'] for entry in rows if entry['num_lidar_pts'] > 0)
    for label, count in boxes.items():
        if count >= _CLASS_BOXES and filled[label] < _LEAST_OF_CLASS * count:
            yield f'{count - filled[label]} of {count} boxes of class {names[label]} hold no point'


def _scan(info: Info, points: Array) -> LabelledScan:
    raw = np.array([entry['bbox_3d'] for entry in _objects(info)], dtype=np.float64).reshape(-1, 7)
    if not _has_camera(info):
        return LabelledScan(frame_id(info), points, raw, raw, lambda rows: rows)
    to_camera = np.array(info['images']['CAM2']['lidar2cam'])
    boxes = info_boxes_to_lidar(raw, to_camera)
    return LabelledScan(frame_id(info), points, boxes, raw, lambda rows: info_boxes_to_lidar(rows, to_camera))


def _mistakes(camera: bool) -> dict[str, Callable[[LabelledScan], Array]]:
    """Return likely mistakes, the simplest first.

    Args:
        camera: Whether labels are read in the camera frame: bottom centre, sizes as length, height, width.
    """

    def scaled(columns: slice, factor: float) -> Callable[[LabelledScan], Array]:
        def change(scan: LabelledScan) -> Array:
            rows = scan.raw.copy()
            rows[:, columns] *= factor
            return scan.read(rows)

        return change

    mistakes = {
        'degrees instead of radians': scaled(slice(6, 7), np.pi / 180),
        'labels in centimetres': scaled(slice(0, 6), 1e-2),
        'labels in millimetres': scaled(slice(0, 6), 1e-3),
        'sizes in centimetres': scaled(slice(3, 6), 1e-2),
        'places in centimetres': scaled(slice(0, 3), 1e-2),
        **usual_mistakes(on_bottom=camera),
    }
    if not camera:
        return {'labels in the camera frame (see --label-frame)': _from_nominal_camera, **mistakes}
    lidar = 'labels in the LiDAR frame (see --label-frame)'
    return {
        lidar: lambda scan: _in_lidar_frame(scan.raw, 0.0, scan.raw[:, 6]),
        f'{lidar}, bottom centre': lambda scan: _in_lidar_frame(scan.raw, 0.5, scan.raw[:, 6]),
        f'{lidar}, angle as in the camera frame': lambda scan: _in_lidar_frame(
            scan.raw, 0.0, -scan.raw[:, 6] - np.pi / 2
        ),
        **mistakes,
    }


def _in_lidar_frame(raw: Array, raised: float, yaw: Array) -> Array:
    x, y, z, length, height, width, _ = raw.T
    return np.column_stack((x, y, z + raised * height, length, width, height, yaw))


def _from_nominal_camera(scan: LabelledScan) -> Array:
    x, y, z, length, width, height, yaw = scan.raw.T
    return info_boxes_to_lidar(np.column_stack((x, y, z, length, height, width, yaw)), NOMINAL_CAMERA)
