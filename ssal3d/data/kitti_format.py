"""The KITTI object layout: calibration, image size, road planes, split lists, and its two coordinate frames.

Camera frame: x right, y down, z forward. LiDAR frame: x forward, y left, z up. Matrices map LiDAR to camera unless the
name says otherwise.
"""

import re
import shlex
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.kitti_objects import KittiObjects
from ssal3d.errors import UserError
from ssal3d.fileio import read_text
from ssal3d.ops.kernel import kernel
from ssal3d.ops.point_records import point_records

Array = NDArray[np.floating]

CLASSES = ('Pedestrian', 'Cyclist', 'Car', 'Van', 'Truck', 'Person_sitting', 'Tram', 'Misc')
DONT_CARE = 'DontCare'
DEFAULT_IMAGE_SIZE = (1242, 375)
# Rectified focal length of camera 2 in pixels on each recording day -> image (width, height).
_IMAGE_SIZES = {
    721.5377: (1242, 375),  # 2011-09-26
    707.0493: (1224, 370),  # 2011-09-28
    718.3351: (1238, 374),  # 2011-09-29
    707.0912: (1226, 370),  # 2011-09-30
    718.856: (1241, 376),  # 2011-10-03
}
_SHAPES = {'P0': (3, 4), 'P1': (3, 4), 'P2': (3, 4), 'P3': (3, 4), 'R0_rect': (3, 3)}
_SHAPES |= {'Tr_velo_to_cam': (3, 4), 'Tr_imu_to_velo': (3, 4)}
# Names of matrices in the calibrations of other benchmarks, and what to do with such a file.
_OTHER_BENCHMARKS = {
    ('R_rect', 'Tr_velo_cam'): (
        'these are the names of the tracking benchmark; write R0_rect:, Tr_velo_to_cam: and Tr_imu_to_velo: in their place'
    ),
    ('P2', 'Tr'): (
        'this is a file of the odometry benchmark; write Tr_velo_to_cam: in place of Tr: and add R0_rect: 1 0 0 0 1 0 0 0 1'
    ),
}
_REQUIRED = ('P2', 'R0_rect', 'Tr_velo_to_cam')
# The axes of a camera that looks along the x axis of the LiDAR and stands in its place.
NOMINAL_CAMERA = np.array([[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
# A camera that looks within so many radians of the LiDAR's x axis counts as looking along it, as MMDetection3D takes it
# for every camera: KITTI's own are off by up to 0.3 degrees, and its numbers come about without them.
_ALONG_X = np.radians(2)
_LARGEST_IMAGE = 2**16  # pixels
_LARGEST_VALUE = 1e9  # of a matrix: pixels, metres
_FRUSTUM_DEPTH = (0.001, 100.0)  # metres before the camera that MMDetection3D's reduced point clouds keep


@dataclass(frozen=True)
class Calibration:
    """A frame's calibration file.

    Attributes:
        matrices: By name as in the file, homogeneous (4, 4) float64; `P2`, `R0_rect` and `Tr_velo_to_cam` are there.
    """

    matrices: dict[str, Array]

    @cached_property
    def lidar_to_camera(self) -> Array:
        """``(4, 4)`` from the LiDAR to the rectified camera frame."""
        return self.matrices['R0_rect'] @ self.matrices['Tr_velo_to_cam']

    @cached_property
    def lidar_to_image(self) -> Array:
        """``(4, 4)`` projection to (u depth, v depth, depth, 1) of the left colour image, in pixels and metres."""
        return self.matrices['P2'] @ self.lidar_to_camera


def read_calibration(path: str | Path) -> Calibration:
    """Read ``calib/NNNNNN.txt``.

    Raises:
        UserError: If the file is missing, a line is malformed, a matrix is missing or a rotation is not one.
    """
    path = Path(path)
    matrices: dict[str, Array] = {}
    text = read_text(path, 'download data_object_calib.zip')
    for number, line in enumerate(text.splitlines(), 1):
        name, _, values = line.partition(':')
        if name.strip() in _SHAPES:
            matrices[name.strip()] = _parse_matrix(f'{path}, line {number}', name.strip(), values)
    for name in _REQUIRED:
        if name not in matrices:
            found = {re.split(r'[:\s]', line, maxsplit=1)[0] for line in text.splitlines()}
            other = next((f'; {said}' for names, said in _OTHER_BENCHMARKS.items() if found.issuperset(names)), '')
            raise UserError(f'{path}: no matrix {name}; expected {", ".join(_REQUIRED)}{other or "; restore the file"}')
    for name in _REQUIRED[1:]:
        rotation = matrices[name][:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-2):
            raise UserError(f'{path}: the first three columns of {name} are not a rotation; restore the file')
    return Calibration(matrices)


def read_plane(path: str | Path) -> list[float] | None:
    """Read a road plane ``planes/NNNNNN.txt``: (a, b, c, d) with ax + by + cz + d = 0 in the camera frame.

    Returns:
        Four numbers, or None if there is no file: planes are optional.

    Raises:
        UserError: If the file's fourth line does not hold four finite numbers.
    """
    path = Path(path)
    if not path.exists():
        return None
    lines = read_text(path).splitlines()
    values = _floats(lines[3]) if len(lines) > 3 else None
    if values is None or len(values) != 4:
        raise UserError(f'{path}: no road plane on line 4, expected four numbers; restore or remove the file')
    return values


def read_split(path: str | Path) -> list[str]:
    """Read ``ImageSets/NAME.txt``: one frame id a line, in the order of the file.

    Raises:
        UserError: If the file is missing or empty, an id is not a file name, or an id occurs twice.
    """
    path = Path(path)
    where = 'split lists stand in ImageSets, one frame id a line'
    ids: dict[str, int] = {}
    for number, line in enumerate(read_text(path, where).splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        if not re.fullmatch(r'[\w-]+', name):
            stem = Path(name.split()[0]).stem
            example = stem if re.fullmatch(r'[\w-]+', stem) else '000123'
            raise UserError(f'{path}, line {number}: found {name!r}, expected a frame id alone, such as {example}')
        if name in ids:
            raise UserError(f'{path}: frame {name} stands on lines {ids[name]} and {number}; remove one of them')
        ids[name] = number
    if not ids:
        raise UserError(f'{path}: no frame in it; {where}')
    return list(ids)


def png_size(path: str | Path) -> tuple[int, int]:
    """Return (width, height) of a PNG file from its header, without decoding it.

    Raises:
        UserError: If the file is no PNG.
    """
    with open(path, 'rb') as file:
        header = file.read(24)
    if len(header) < 24 or header[:8] != b'\x89PNG\r\n\x1a\n' or header[12:16] != b'IHDR':
        raise UserError(f'{path}: not a PNG image; restore the file or remove it (images are optional)')
    width, height = struct.unpack('>II', header[16:24])
    if not (0 < width < _LARGEST_IMAGE and 0 < height < _LARGEST_IMAGE):
        raise UserError(f'{path}: found an image of {width} x {height} pixels; restore the file or remove it')
    return width, height


def camera_image_size(calibration: Calibration) -> tuple[int, int] | None:
    """Return (width, height) of KITTI's images on the day that the focal length tells; None if unknown."""
    focal = float(calibration.matrices['P2'][0, 0])
    return next((size for focal_length, size in _IMAGE_SIZES.items() if abs(focal - focal_length) < 1e-3), None)


def transform(matrix: Array, points: Array) -> Array:
    """Apply a ``(4, 4)`` matrix to ``(N, >=3)`` points; returns ``(N, 3)`` float64.

    Written out rather than as a matrix product, whose last bits depend on the number of threads.
    """
    x, y, z = (np.asarray(points[:, axis], dtype=np.float64) for axis in range(3))
    return np.stack([x * row[0] + y * row[1] + z * row[2] + row[3] for row in matrix[:3]], axis=1)


def lidar_to_camera(points: Array, calibration: Calibration) -> Array:
    """Return ``(N, 3)`` points in the rectified camera frame."""
    return transform(calibration.lidar_to_camera, points)


def camera_turn(lidar_to_camera: Array) -> float:
    """Return the direction in which a camera looks, in rad counter-clockwise from the x axis of the LiDAR.

    It is exactly 0 for cameras that look along the road, also where they are a little off as KITTI's are. Rotations
    about the camera's y axis count from there: ``rotation_y = turn - yaw - pi / 2``.

    Args:
        lidar_to_camera: ``(4, 4)`` rigid.

    >>> camera_turn(NOMINAL_CAMERA)
    0.0
    """
    turn = float(np.arctan2(lidar_to_camera[2, 1], lidar_to_camera[2, 0]))
    return turn if abs(turn) > _ALONG_X else 0.0


def project(points: Array, calibration: Calibration) -> tuple[Array, Array]:
    """Project LiDAR points to the left colour image.

    Returns:
        ``(N, 2)`` pixels and ``(N,)`` depth in metres; pixels of points with depth <= 0 mean nothing.
    """
    scaled = transform(calibration.lidar_to_image, points)
    with np.errstate(divide='ignore', invalid='ignore'):
        return scaled[:, :2] / scaled[:, 2:], scaled[:, 2]


def in_camera_view(points: Array, calibration: Calibration, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Find the points that the camera sees: the rule of MMDetection3D's reduced point clouds.

    Args:
        points: ``(N, >=3)`` LiDAR points.
        calibration: Of the frame.
        image_size: (width, height) in pixels.

    Returns:
        ``(N,)`` True where 0 < u < width, 0 < v < height and 0.001 m < depth < 100 m.
    """
    (width, height), (near, far) = image_size, _FRUSTUM_DEPTH
    records = point_records(np.asarray(points))
    return _in_view(records, calibration.lidar_to_image, float(width), float(height), near, far)


def camera_boxes_to_lidar(objects: KittiObjects, calibration: Calibration) -> Array:
    """Turn label boxes (camera frame, bottom centre, h w l) into LiDAR boxes.

    Args:
        objects: Labels of a frame; leave DontCare out first, its numbers mean nothing.
        calibration: Of the frame.

    Returns:
        ``(N, 7)`` float64 (x, y, z, dx, dy, dz, yaw): gravity centre, metres, yaw in [-pi, pi).
    """
    height, width, length = objects.dimensions.T
    boxes = np.column_stack((objects.location, length, height, width, objects.rotation_y))
    return info_boxes_to_lidar(boxes, calibration.lidar_to_camera)


def info_boxes_to_lidar(boxes: Array, lidar_to_camera: Array) -> Array:
    """Turn boxes as MMDetection3D's KITTI infos hold them into LiDAR boxes.

    Args:
        boxes: ``(N, 7)`` bottom centre, length, height, width in metres, rotation_y, in the camera frame.
        lidar_to_camera: ``(4, 4)``.

    Returns:
        ``(N, 7)`` float64 (x, y, z, dx, dy, dz, yaw): gravity centre, metres, yaw in [-pi, pi).
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    centre = transform(np.linalg.inv(lidar_to_camera), boxes)
    length, height, width, turn = boxes[:, 3:].T
    centre[:, 2] += height / 2
    yaw = (camera_turn(lidar_to_camera) - turn - np.pi / 2 + np.pi) % (2 * np.pi) - np.pi
    return np.column_stack((centre, length, width, height, yaw))


def lidar_boxes_to_info(boxes: Array, lidar_to_camera: Array) -> Array:
    """Turn LiDAR boxes into boxes as MMDetection3D's KITTI infos hold them; the inverse of `info_boxes_to_lidar`.

    Args:
        boxes: ``(N, 7)`` (x, y, z, dx, dy, dz, yaw): gravity centre, metres, radians.
        lidar_to_camera: ``(4, 4)``.

    Returns:
        ``(N, 7)`` float64 bottom centre, length, height, width, rotation_y in [-pi, pi), in the camera frame.
    """
    x, y, z, length, width, height, yaw = np.asarray(boxes, dtype=np.float64).reshape(-1, 7).T
    bottom = transform(lidar_to_camera, np.column_stack((x, y, z - height / 2)))
    turn = (camera_turn(lidar_to_camera) - yaw - np.pi / 2 + np.pi) % (2 * np.pi) - np.pi
    return np.column_stack((bottom, length, height, width, turn))


def require_kitti(path: str | Path, infos: str | None = None) -> None:
    """Check that the KITTI data is there, and say how to get it if it is not.

    Args:
        path: The data root, usually ``data/kitti``.
        infos: An annotation file that must be there as well, e.g. ``kitti_infos_train.pkl``. A root that has it needs
            no raw data.

    Raises:
        UserError: If the folder, the raw data or the annotation file is missing.
    """
    path = Path(path)
    command = f'ssal3d create-data kitti --root-path {shlex.quote(str(path))}'
    if infos is not None and (path / infos).exists():
        return
    if not (path / 'training' / 'velodyne').is_dir():
        raise UserError(
            f'{path}: no KITTI data here (no folder training/velodyne); download velodyne, label_2, calib (and '
            'optionally planes) of KITTI object detection from https://www.cvlibs.net/datasets/kitti/eval_object.php, '
            f'unpack them to {path} and run: {command}'
        )
    if infos is not None:
        raise UserError(f'{path / infos}: no such file; the raw data is there but not converted, run: {command}')


@kernel
def _in_view(points: NDArray, matrix: Array, width: float, height: float, near: float, far: float) -> NDArray[np.bool_]:
    inside = np.empty(points.size, dtype=np.bool_)
    for i in range(points.size):
        x, y, z = np.float64(points[i].x), np.float64(points[i].y), np.float64(points[i].z)
        depth = x * matrix[2, 0] + y * matrix[2, 1] + z * matrix[2, 2] + matrix[2, 3]
        u = x * matrix[0, 0] + y * matrix[0, 1] + z * matrix[0, 2] + matrix[0, 3]
        v = x * matrix[1, 0] + y * matrix[1, 1] + z * matrix[1, 2] + matrix[1, 3]
        # no branches: which way they go cannot be foretold, and that costs more than the arithmetic
        inside[i] = (depth > near) & (depth < far) & (u > 0.0) & (u < width * depth) & (v > 0.0) & (v < height * depth)
    return inside


def _parse_matrix(where: str, name: str, text: str) -> Array:
    shape, values = _SHAPES[name], _floats(text)
    if values is None or len(values) != shape[0] * shape[1] or max(map(abs, values)) > _LARGEST_VALUE:
        raise UserError(f'{where}: malformed {name}, expected {shape[0] * shape[1]} finite numbers; restore the file')
    matrix = np.eye(4)
    matrix[:3, : shape[1]] = np.reshape(values, shape)
    return matrix


def _floats(text: str) -> list[float] | None:
    """Parse numbers separated by blanks; None if one of them is no finite number."""
    try:
        values = [float(part) for part in text.split()]
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _warm_up() -> None:
    points, matrix, size = np.ones((1, 4), np.float32), np.eye(4), 1.0
    for cloud in (points, points[:, :3], points.astype(np.float64)):
        _in_view(point_records(cloud), matrix, size, size, *_FRUSTUM_DEPTH)
