"""Convert one frame of own data: read the scan in whatever format, check it, build the annotation entry."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.class_names import unknown_class
from ssal3d.data.conversion import FrameResult
from ssal3d.data.folder.labels import FrameLabels, read_labels
from ssal3d.data.folder.layout import FoundScan
from ssal3d.data.folder.point_files import ScanColumns, read_points
from ssal3d.data.infos import frame_id as id_of
from ssal3d.data.kitti_format import (
    NOMINAL_CAMERA,
    Calibration,
    camera_boxes_to_lidar,
    info_boxes_to_lidar,
    read_calibration,
)
from ssal3d.data.kitti_objects import check_boxes, concatenate
from ssal3d.data.scans import check_plausible, read_scan, scale_intensity
from ssal3d.errors import UnwritableError, UserError
from ssal3d.fileio import atomic_path
from ssal3d.ops.boxes import points_per_box

POINTS = 'points'
DONT_CARE = 'DontCare'


@dataclass(frozen=True)
class FolderTask:
    """What to convert.

    Attributes:
        scan: The scan.
        out: Folder of the result.
        classes: Class names in the order of their labels.
        dropped: Class names whose boxes are left out.
        columns: What is kept of a point.
        labels: The frame's labels, or the file that holds them; None for a frame that nobody labelled.
        calibration: KITTI calibration file of the frame's camera, if there is one.
        label_frame: ``lidar``, ``lidar-bottom`` or ``camera``; None reads KITTI lines in the camera frame where there
            is a calibration, everything else in the LiDAR frame.
        intensity_max: What intensities are divided by; None keeps them.
        previous: The frame's record in the manifest of an earlier run.
    """

    scan: FoundScan
    out: Path
    classes: tuple[str, ...]
    dropped: frozenset[str]
    columns: ScanColumns
    labels: FrameLabels | Path | None = None
    calibration: Path | None = None
    label_frame: str | None = None
    intensity_max: float | None = None
    previous: dict[str, Any] | None = None

    @property
    def written(self) -> Path:
        """Path of the converted scan."""
        return self.out / POINTS / f'{self.scan.frame_id}.bin'


def convert_folder_frame(task: FolderTask) -> FrameResult:
    """Convert a frame, or say what is wrong with it; never raises a `UserError`."""
    frame = task.scan.frame_id
    try:
        calibration = read_calibration(task.calibration) if task.calibration else None
        labels = read_labels(task.labels) if isinstance(task.labels, Path) else task.labels
        boxes = None if labels is None else _lidar_boxes(labels, calibration, task.label_frame)
        chosen = None if labels is None else _known(labels, task)
        record, points = _write_scan(task)
        info = _entry(task, record, calibration)
        if labels is not None and boxes is not None and chosen is not None:
            points = read_scan(task.written, len(task.columns.kept)) if points is None and chosen.any() else points
            info['instances'] = _instances(labels, boxes, chosen, points, task.classes)
    except UnwritableError:
        raise
    except UserError as error:
        return FrameResult(frame, None, task.previous, str(error))
    assert id_of(info) == frame
    return FrameResult(frame, info, record)


def _lidar_boxes(labels: FrameLabels, calibration: Calibration | None, label_frame: str | None) -> NDArray[np.floating]:
    """Return ``(M, 7)`` gravity-centred LiDAR boxes."""
    kitti = labels.kitti
    if kitti is None:
        return _raised(labels.boxes, label_frame)
    check_boxes(concatenate([kitti[kitti.names != DONT_CARE]]), [labels.source], placeholders=False)
    height, width, length = kitti.dimensions.T
    if (label_frame or ('camera' if calibration else 'lidar')) == 'camera':
        if calibration is not None:
            return camera_boxes_to_lidar(kitti, calibration)
        rows = np.column_stack((kitti.location, length, height, width, kitti.rotation_y))
        return info_boxes_to_lidar(rows, NOMINAL_CAMERA)
    return _raised(np.column_stack((kitti.location, length, width, height, kitti.rotation_y)), label_frame)


def _raised(boxes: NDArray[np.float64], label_frame: str | None) -> NDArray[np.float64]:
    lift = boxes[:, 5] / 2 if label_frame == 'lidar-bottom' else 0.0
    return np.column_stack((boxes[:, :2], boxes[:, 2] + lift, boxes[:, 3:]))


def _known(labels: FrameLabels, task: FolderTask) -> NDArray[np.bool_]:
    """Return which objects are kept."""
    for name in labels.names:
        if name not in task.classes and name not in task.dropped and name != DONT_CARE:
            raise UserError(
                f'{labels.source}: {unknown_class(name, task.classes)}; add it to --classes (training may use fewer), or '
                'leave its boxes out with --drop'
            )
    return np.array([name in task.classes for name in labels.names], dtype=np.bool_)


def _write_scan(task: FolderTask) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """Write the scan if it is not there yet.

    Returns:
        The frame's record, and the points unless the scan was there.
    """
    path, stride = task.scan.path, 4 * len(task.columns.kept)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise UserError(f'{path}: no such file; copy the scan again or leave the frame out') from None
    record = {'bytes': status.st_size, 'mtime_ns': status.st_mtime_ns, 'path': str(path), 'how': _how(task)}
    previous = task.previous or {}
    unchanged = previous and all(previous.get(key) == value for key, value in record.items())
    if unchanged and task.written.exists() and task.written.stat().st_size == previous['kept'] * stride:
        return previous, None
    points = read_points(path, task.columns)
    if task.scan.forward == 'y':
        points[:, :2] = np.column_stack((points[:, 1], -points[:, 0]))
    finite = check_plausible(points, path)
    good = points if finite.all() else points[finite]
    lowest, highest = float(good[:, 3].min()), float(good[:, 3].max())
    if task.intensity_max is not None:
        good = scale_intensity(good, task.intensity_max, path)
    with atomic_path(task.written) as temporary:
        temporary.write_bytes(np.ascontiguousarray(good).tobytes())
    counts = {'points': len(points), 'not_finite': int((~finite).sum()), 'kept': len(good)}
    return record | counts | {'intensity': [lowest, highest]}, good


def _how(task: FolderTask) -> str:
    columns = task.columns
    return f'{" ".join(columns.kept)}; {columns.in_file}; {columns.load_dim}; {task.intensity_max}; {task.scan.forward}'


def _entry(task: FolderTask, record: dict[str, Any], calibration: Calibration | None) -> dict[str, Any]:
    scan = task.scan
    name = scan.frame_id
    info: dict[str, Any] = {
        'sample_idx': int(name) if name.isdecimal() else name,
        'token': name,
        'lidar_points': {
            'num_pts_feats': len(task.columns.kept),
            'lidar_path': f'{name}.bin',
            'num_points': record['kept'],
        },
    }
    if scan.sequence:
        info['sequence'] = scan.sequence
    if scan.time is not None:
        info['timestamp'] = scan.time
    if scan.pose is not None:
        info['ego2global'] = np.reshape(scan.pose, (4, 4)).tolist()
    if calibration is not None:
        info['images'] = {
            'CAM2': {
                'cam2img': calibration.matrices['P2'].tolist(),
                'lidar2cam': calibration.lidar_to_camera.tolist(),
                'lidar2img': calibration.lidar_to_image.tolist(),
            }
        }
    return info


def _instances(
    labels: FrameLabels,
    boxes: NDArray[np.floating],
    chosen: NDArray[np.bool_],
    points: NDArray[np.float32] | None,
    classes: tuple[str, ...],
) -> list[dict[str, Any]]:
    kept = boxes[chosen]
    counts = np.zeros(len(kept), np.int64) if points is None else points_per_box(points, kept)
    names = [name for name, keep in zip(labels.names, chosen, strict=True) if keep]
    return [
        {
            'bbox_3d': box,
            'bbox_label_3d': classes.index(name),
            'bbox_label': classes.index(name),
            'num_lidar_pts': int(count),
        }
        for box, name, count in zip(kept.tolist(), names, counts, strict=True)
    ]
