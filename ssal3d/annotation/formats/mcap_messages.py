"""The messages of an MCAP file as plain dictionaries, and their two encodings: Foxglove's protobuf and ROS 2's CDR.

Schemas: https://docs.foxglove.dev/docs/sdk/schemas and https://docs.ros.org/en/rolling/p/sensor_msgs/.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.annotation.formats.files import PALETTE
from ssal3d.annotation.model import Camera, Cuboid, LabelFrame
from ssal3d.annotation.rotations import quaternion, quaternion_of
from ssal3d.errors import UserError

LIDAR, WORLD = 'lidar', 'world'
FLOAT32 = {'protobuf': 7, 'ros2': 7}  # PackedElementField.FLOAT32 and PointField.FLOAT32 happen to be equal
DELETE_ALL = 1
_STRIDE = 16
_ORIGIN = {'x': 0.0, 'y': 0.0, 'z': 0.0}
_UPRIGHT = {'x': 0.0, 'y': 0.0, 'z': 0.0, 'w': 1.0}
_IMAGE_FORMATS = {'.jpg': 'jpeg', '.jpeg': 'jpeg', '.png': 'png', '.webp': 'webp', '.avif': 'avif'}


def stamp(time_ns: int) -> dict[str, int]:
    """Return a time as ROS 2 writes it."""
    return {'sec': time_ns // 10**9, 'nanosec': time_ns % 10**9}


def point_cloud(points: NDArray[np.float32], time_ns: int) -> dict[str, Any]:
    """Return a ``foxglove.PointCloud`` of ``(N, 4)`` points."""
    return {
        'timestamp': stamp(time_ns),
        'frame_id': LIDAR,
        'pose': {'position': _ORIGIN, 'orientation': _UPRIGHT},
        'point_stride': _STRIDE,
        'fields': [
            {'name': name, 'offset': 4 * index, 'type': FLOAT32['protobuf']}
            for index, name in enumerate(('x', 'y', 'z', 'intensity'))
        ],
        'data': points.astype('<f4').tobytes(),
    }


def point_cloud2(points: NDArray[np.float32], time_ns: int) -> dict[str, Any]:
    """Return a ``sensor_msgs/msg/PointCloud2`` of ``(N, 4)`` points."""
    return {
        'header': {'stamp': stamp(time_ns), 'frame_id': LIDAR},
        'height': 1,
        'width': len(points),
        'fields': [
            {'name': name, 'offset': 4 * index, 'datatype': FLOAT32['ros2'], 'count': 1}
            for index, name in enumerate(('x', 'y', 'z', 'intensity'))
        ],
        'is_bigendian': False,
        'point_step': _STRIDE,
        'row_step': _STRIDE * len(points),
        'data': points.astype('<f4').tobytes(),
        'is_dense': True,
    }


def scene_update(frame: LabelFrame, time_ns: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return a ``foxglove.SceneUpdate`` with one entity a box, each with one cube, an arrow along its heading and text.

    LightlyStudio wants one cube an entity, and ``class`` and a whole number as ``track_id`` in its metadata.
    """
    when = stamp(time_ns)
    return {
        'deletions': [{'timestamp': when, 'type': DELETE_ALL, 'id': ''}],
        'entities': [_entity(frame, cuboid, when, classes) for cuboid in frame.cuboids],
    }


def detections(frame: LabelFrame, time_ns: int) -> dict[str, Any]:
    """Return a ``vision_msgs/msg/Detection3DArray``."""
    header = {'stamp': stamp(time_ns), 'frame_id': LIDAR}
    return {
        'header': header,
        'detections': [
            {
                'header': header,
                'results': [
                    {
                        'hypothesis': {'class_id': cuboid.class_name, 'score': cuboid.score or 0.0},
                        'pose': {'pose': _pose(cuboid), 'covariance': [0.0] * 36},
                    }
                ],
                'bbox': {'center': _pose(cuboid), 'size': _xyz(cuboid.box[3:6])},
                'id': cuboid.id,
            }
            for cuboid in frame.cuboids
        ],
    }


def transform(pose: NDArray[np.float64]) -> dict[str, Any]:
    """Return translation and rotation of a ``(4, 4)`` pose."""
    x, y, z, w = quaternion_of(pose[:3, :3])
    rotation = {'x': x, 'y': y, 'z': z, 'w': w}
    return {'translation': _xyz(pose[:3, 3].tolist()), 'rotation': rotation}


def calibration(camera: Camera, time_ns: int) -> dict[str, Any]:
    """Return a ``foxglove.CameraCalibration``."""
    width, height = camera.size or (0, 0)
    return {
        'timestamp': stamp(time_ns),
        'frame_id': camera.name,
        'width': width,
        'height': height,
        'distortion_model': 'plumb_bob',
        'D': [0.0] * 5,
        'K': np.ravel(camera.projection[:3, :3]).tolist(),
        'R': np.ravel(np.eye(3)).tolist(),
        'P': np.ravel(camera.projection[:3]).tolist(),
    }


def image(camera: Camera, time_ns: int) -> dict[str, Any]:
    """Return a ``foxglove.CompressedImage`` with the bytes of the image file.

    Raises:
        UserError: If the format is none of the schema's.
    """
    assert camera.image is not None
    kind = _IMAGE_FORMATS.get(camera.image.suffix.lower())
    if kind is None:
        raise UserError(f'{camera.image}: expected an image that ends in {", ".join(_IMAGE_FORMATS)}')
    return {
        'timestamp': stamp(time_ns),
        'frame_id': camera.name,
        'format': kind,
        'data': camera.image.read_bytes(),
    }


def fill(message: Any, content: Mapping[str, Any]) -> Any:
    """Fill a protobuf message from a dictionary, and return it."""
    is_time = message.DESCRIPTOR.full_name in ('google.protobuf.Timestamp', 'google.protobuf.Duration')
    for key, value in content.items():
        key = {'sec': 'seconds', 'nanosec': 'nanos'}[key] if is_time else key
        if isinstance(value, Mapping):
            getattr(message, key).SetInParent()
            fill(getattr(message, key), value)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for entry in value:
                fill(getattr(message, key).add(), entry)
        elif isinstance(value, list):
            getattr(message, key).extend(value)
        else:
            setattr(message, key, value)
    return message


def _entity(frame: LabelFrame, cuboid: Cuboid, when: dict[str, int], classes: tuple[str, ...]) -> dict[str, Any]:
    color = _color(classes.index(cuboid.class_name) if cuboid.class_name in classes else -1)
    x, y, z, dx, _, dz, _ = cuboid.box
    facts = {
        'class': cuboid.class_name,
        'track_id': cuboid.track_id if cuboid.track_id.isdecimal() else cuboid.id,
        'interpolated': 'false',
        'source': 'prelabel',
    }
    if cuboid.score is not None:
        facts['score'] = f'{cuboid.score:.4f}'
    if frame.facts.get('utility') is not None:
        facts['utility'] = f'{frame.facts["utility"]:.6g}'
    title = cuboid.class_name if cuboid.score is None else f'{cuboid.class_name} {cuboid.score:.2f}'
    return {
        'timestamp': when,
        'frame_id': LIDAR,
        'id': f'{frame.frame_id}/{cuboid.id}',
        'lifetime': {'sec': 0, 'nanosec': 0},
        'frame_locked': False,
        'metadata': [{'key': key, 'value': value} for key, value in facts.items()],
        'arrows': [
            {
                'pose': _pose(cuboid),
                'shaft_length': dx * 0.6,
                'shaft_diameter': 0.1,
                'head_length': 0.3,
                'head_diameter': 0.3,
                'color': color,
            }
        ],
        'cubes': [{'pose': _pose(cuboid), 'size': _xyz(cuboid.box[3:6]), 'color': {**color, 'a': 0.3}}],
        'spheres': [],
        'cylinders': [],
        'lines': [],
        'triangles': [],
        'texts': [
            {
                'pose': {'position': {'x': x, 'y': y, 'z': z + dz / 2}, 'orientation': _UPRIGHT},
                'billboard': True,
                'font_size': 0.6,
                'scale_invariant': False,
                'color': color,
                'text': title,
            }
        ],
        'models': [],
    }


def _pose(cuboid: Cuboid) -> dict[str, Any]:
    x, y, z, w = quaternion(cuboid.box[6])
    return {'position': _xyz(cuboid.box[:3]), 'orientation': {'x': x, 'y': y, 'z': z, 'w': w}}


def _xyz(values: Any) -> dict[str, float]:
    return dict(zip('xyz', map(float, values)))


def _color(index: int) -> dict[str, float]:
    code = PALETTE[index % len(PALETTE)]
    red, green, blue = (int(code[position : position + 2], 16) / 255 for position in (1, 3, 5))
    return {'r': red, 'g': green, 'b': blue, 'a': 1.0}
