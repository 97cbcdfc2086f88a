"""Frames of the Waymo Open Dataset from the tfrecord files of its first version."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.tfrecord import read_records
from ssal3d.data.waymo_frame import TOP, Camera, Laser, WaymoFrame, WaymoLabels
from ssal3d.data.waymo_geometry import transformed, uniform_inclinations
from ssal3d.data.waymo_messages import decode
from ssal3d.errors import UserError


def read_record_frames(path: str | Path, interval: int = 1, labelled: bool = True) -> Iterator[WaymoFrame]:
    """Yield every ``interval``-th frame of a segment; one frame is in memory at a time.

    Args:
        path: File of one segment, a record for each frame.
        interval: Frames 0, ``interval``, 2 ``interval``, ... are read.
        labelled: Whether the frames have labels; without, those in the file are not even looked at.

    Raises:
        UserError: If the file is damaged or lacks what a frame needs; the message names the file and the record.
    """
    for number, content in read_records(path, lambda number: number % interval == 0):
        message = decode('Frame', content, f'{path}: record {number}')
        try:
            yield _frame(message, number, labelled)
        except (UserError, ValueError, zlib.error) as error:
            raise UserError(f'{path}: record {number}: {error}') from None


def _frame(message: Any, number: int, labelled: bool) -> WaymoFrame:
    pose = _matrix(message.pose, 'the pose of the vehicle')
    calibrations = {calibration.name: calibration for calibration in message.context.laser_calibrations}
    return WaymoFrame(
        segment=message.context.name,
        index=number,
        timestamp=message.timestamp_micros,
        pose=pose,
        lasers=[_laser(laser, calibrations) for laser in message.lasers if laser.ri_return1.range_image_compressed],
        cameras=[_camera(camera) for camera in message.context.camera_calibrations],
        labels=_labels(message.laser_labels) if labelled else None,
        no_label_zones=[_zone(zone, pose) for zone in message.no_label_zones],
    )


def _laser(laser: Any, calibrations: dict[int, Any]) -> Laser:
    calibration = calibrations.get(laser.name)
    if calibration is None:
        raise UserError(f'LiDAR {laser.name} has no calibration; the file is damaged, fetch it again')
    compressed = [image.range_image_compressed for image in (laser.ri_return1, laser.ri_return2)]
    images = [_image(content) for content in compressed if content]
    inclinations = np.array(calibration.beam_inclinations, dtype=np.float64)
    if not len(inclinations):
        low, high = calibration.beam_inclination_min, calibration.beam_inclination_max
        inclinations = uniform_inclinations(low, high, len(images[0]))
    poses = laser.ri_return1.range_image_pose_compressed  # the second return has the same
    return Laser(
        name=laser.name,
        returns=images,
        inclinations=inclinations[::-1],
        extrinsic=_matrix(calibration.extrinsic, f'the extrinsic of LiDAR {laser.name}'),
        pixel_pose=_image(poses) if poses and laser.name == TOP else None,
    )


def _image(content: bytes) -> NDArray[np.float32]:
    matrix = decode('MatrixFloat', zlib.decompress(content), 'a range image')
    values, shape = np.frombuffer(matrix.data, dtype='<f4'), tuple(matrix.shape.dims)
    if len(shape) != 3 or values.size != np.prod(shape):
        raise UserError(f'found a range image of {values.size} values, expected the shape {shape}')
    return values.reshape(shape)


def _camera(camera: Any) -> Camera:
    if len(camera.intrinsic) < 4:
        raise UserError(f'camera {camera.name} has {len(camera.intrinsic)} intrinsic parameters, expected 9')
    f_u, f_v, c_u, c_v = camera.intrinsic[:4]
    extrinsic = _matrix(camera.extrinsic, f'the extrinsic of camera {camera.name}')
    return Camera(camera.name, (f_u, f_v, c_u, c_v), extrinsic, (camera.width, camera.height))


def _labels(labels: Any) -> WaymoLabels:
    boxes = [label.box for label in labels]
    rows = [(b.center_x, b.center_y, b.center_z, b.length, b.width, b.height, b.heading) for b in boxes]
    return WaymoLabels(
        boxes=np.array(rows, dtype=np.float64).reshape(-1, 7),
        types=np.array([label.type for label in labels], dtype=np.int64),
        levels=np.array([label.detection_difficulty_level for label in labels], dtype=np.int64),
        num_points=np.array([label.num_lidar_points_in_box for label in labels], dtype=np.int64),
        ids=[label.id for label in labels],
    )


def _zone(zone: Any, pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring a zone's corners, which have no height, from the world into the vehicle frame."""
    corners = np.column_stack((zone.x, zone.y, np.full(len(zone.x), pose[2, 3])))
    return transformed(corners, np.linalg.inv(pose))[:, :2]


def _matrix(transform: Any, what: str) -> NDArray[np.float64]:
    values = np.array(transform.transform, dtype=np.float64)
    if values.size != 16 or not np.isfinite(values).all():
        raise UserError(f'{what} has {values.size} numbers, expected the 16 finite ones of a 4 x 4 matrix')
    return values.reshape(4, 4)
