"""Convert one KITTI frame: check every file, crop the scan to the camera view, build the annotation entry."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.conversion import FrameResult
from ssal3d.data.kitti_checks import calibration_fault
from ssal3d.data.kitti_format import (
    DEFAULT_IMAGE_SIZE,
    Calibration,
    camera_image_size,
    in_camera_view,
    png_size,
    read_calibration,
    read_plane,
)
from ssal3d.data.kitti_infos import (
    NUM_POINT_FEATURES,
    check_objects,
    frame_info,
    in_camera_frame,
    instance_infos,
)
from ssal3d.data.kitti_objects import KittiObjects, read_objects
from ssal3d.data.scans import check_plausible, check_scan_size, read_scan, scale_intensity
from ssal3d.errors import UnwritableError, UserError
from ssal3d.fileio import atomic_path
from ssal3d.spelling import meant_file

REDUCED = 'velodyne_reduced'
# Camera frame and bottom centre as KITTI has them; LiDAR frame with the centre of the box, or of its bottom.
LABEL_FRAMES = ('camera', 'lidar', 'lidar-bottom')
_STRIDE = 4 * NUM_POINT_FEATURES


@dataclass(frozen=True)
class FrameTask:
    """What to convert.

    Attributes:
        root: Folder in the KITTI object layout.
        out: Where the reduced scan goes.
        folder: ``training`` or ``testing``.
        frame_id: File stem.
        split: Name of a split that lists the frame, for messages.
        labelled: Whether the frame has a label file.
        calibrated: Whether the frame must have a calibration.
        image_size: (width, height) to assume for a frame without image file; None derives it from the calibration.
        label_frame: How labels are read, one of `LABEL_FRAMES`; None reads them as KITTI's where there is a
            calibration, else in the LiDAR frame.
        intensity_max: What intensities are divided by; None keeps them.
        previous: The frame's record in the manifest of an earlier run.
    """

    root: Path
    out: Path
    folder: str
    frame_id: str
    split: str
    labelled: bool
    calibrated: bool
    image_size: tuple[int, int] | None = None
    label_frame: str | None = None
    intensity_max: float | None = None
    previous: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """The frame's key in the manifest."""
        return f'{self.folder}/{self.frame_id}'

    def source(self, kind: str, suffix: str) -> Path:
        """Return the path of one of the frame's files."""
        return self.root / self.folder / kind / f'{self.frame_id}{suffix}'

    @property
    def reduced(self) -> Path:
        """Path of the reduced scan."""
        return self.out / self.folder / REDUCED / f'{self.frame_id}.bin'


def convert_frame(task: FrameTask) -> FrameResult:
    """Convert a frame, or say what is wrong with it; never raises a `UserError`."""
    try:
        calibration = read_calibration(_existing(task, 'calib')) if task.calibrated else None
        objects = _read_labels(task, calibration) if task.labelled else None
        image = task.source('image_2', '.png')
        has_image = image.exists()
        size = _image_size(task, image if has_image else None, calibration) if calibration else None
        record, points = _reduce(task, calibration, size)
        instances = None
        if objects is not None:
            if points is None:
                points = read_scan(task.reduced) if len(objects) else np.zeros((0, NUM_POINT_FEATURES), np.float32)
            instances = instance_infos(objects, calibration, points)
        info = frame_info(
            task.frame_id,
            record['kept'],
            calibration=calibration,
            image_size=size,
            has_image=has_image,
            plane=read_plane(task.source('planes', '.txt')) if calibration else None,
            instances=instances,
        )
    except UnwritableError:
        raise
    except UserError as error:
        return FrameResult(task.key, None, task.previous, str(error))
    return FrameResult(task.key, info, record)


def _existing(task: FrameTask, kind: str) -> Path:
    """Return the path of a text file that every frame of the split must have."""
    path = task.source(kind, '.txt')
    if not path.exists():
        raise UserError(
            f'{path}: no such file, but other frames of split {task.split} have one; add it or take {task.frame_id} out '
            f'of ImageSets/{task.split}.txt'
        )
    return path


def _read_labels(task: FrameTask, calibration: Calibration | None) -> KittiObjects:
    """Return the frame's labels in the camera frame; the nominal one if there is no calibration."""
    path = task.source('label_2', '.txt')
    objects = read_objects(path)
    check_objects(objects, path)
    label_frame = task.label_frame or ('lidar' if calibration is None else 'camera')
    if label_frame == 'camera':
        return objects
    return in_camera_frame(objects, calibration, bottom=label_frame == 'lidar-bottom')


def _image_size(task: FrameTask, image: Path | None, calibration: Calibration) -> tuple[int, int]:
    if image is not None:
        return png_size(image)
    return task.image_size or camera_image_size(calibration) or DEFAULT_IMAGE_SIZE


def _reduce(
    task: FrameTask, calibration: Calibration | None, image_size: tuple[int, int] | None
) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """Write the reduced scan if it is not there yet.

    Returns:
        The frame's record, and the reduced points unless the scan was there.
    """
    path = task.source('velodyne', '.bin')
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise UserError(
            f'{path}: no such file, but frame {task.frame_id} is listed in ImageSets/{task.split}.txt'
            f'{meant_file(path) or "; download it or take the frame out of the list"}'
        ) from None
    check_scan_size(path, status.st_size, NUM_POINT_FEATURES)
    record = {'bytes': status.st_size, 'mtime_ns': status.st_mtime_ns, 'view': _view(calibration, image_size)}
    record['intensity_max'] = task.intensity_max
    if task.previous is not None:
        _check_not_cut(path, status.st_size, task.previous)
        kept = task.previous['kept']
        unchanged = all(task.previous.get(key) == value for key, value in record.items())
        if unchanged and task.reduced.exists() and task.reduced.stat().st_size == kept * _STRIDE:
            return task.previous, None
    points = read_scan(path, NUM_POINT_FEATURES)
    finite = check_plausible(points, path)
    good = points if finite.all() else points[finite]
    lowest, highest = float(good[:, 3].min()), float(good[:, 3].max())
    if task.intensity_max is not None:
        good = scale_intensity(good, task.intensity_max, path)
    if calibration is not None and image_size is not None:
        good = good.take(np.flatnonzero(in_camera_view(good, calibration, image_size)), axis=0)
    if len(good) == 0:
        fault = calibration_fault(calibration) if calibration else None
        raise UserError(
            f'{path}: none of {len(points)} points is in the camera view; {fault or "check the calibration"}'
        )
    with atomic_path(task.reduced) as temporary:
        temporary.write_bytes(good.tobytes())
    counts = {'points': len(points), 'not_finite': int((~finite).sum()), 'kept': len(good)}
    return record | counts | {'intensity': [lowest, highest]}, good


def _check_not_cut(path: Path, size: int, previous: dict[str, Any]) -> None:
    """Refuse a scan that lost points since the last conversion; a cut on a point boundary shows in no other way."""
    if size < previous['bytes']:
        raise UserError(
            f'{path}: found {size // _STRIDE} points, expected {previous["bytes"] // _STRIDE} as in the last conversion; '
            'the file is cut, copy it again (or, if it was replaced on purpose, delete manifest.json)'
        )


def _view(calibration: Calibration | None, image_size: tuple[int, int] | None) -> str:
    """Return a digest of everything but the scan that the reduced scan depends on."""
    if calibration is None:
        return 'whole scan'
    digest = hashlib.sha256(repr(image_size).encode())
    for name in ('P2', 'R0_rect', 'Tr_velo_to_cam'):
        digest.update(calibration.matrices[name].tobytes())
    return digest.hexdigest()[:16]
