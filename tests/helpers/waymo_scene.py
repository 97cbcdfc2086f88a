"""A synthetic drive whose every point is known, as Waymo's files of both versions would hold it.

The world is a ground plane, two walls and boxes on the ground. The vehicle drives and turns while the LiDAR on the roof
sweeps. Rays are cast with SciPy's rotations and plain intersections; nothing of the package's geometry is used.
"""

import zlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.spatial.transform import Rotation

from tests.helpers.waymo_wire import DATASET, LABEL, compiled, tfrecord

SEGMENT = '10526338824408452410_5714_660_5734_660'
START = 1_543_251_275_000_000
# Boxes on the ground of the world: x, y, length, width, height, heading; type, difficulty, name.
OBJECTS = (
    ((118.0, 53.0, 4.5, 2.0, 1.6, 0.4), 1, 0, 'car'),
    ((111.0, 61.0, 0.8, 0.8, 1.8, -2.0), 2, 2, 'walker'),
    ((104.0, 40.0, 1.8, 0.8, 1.7, 1.0), 4, 0, 'cyclist'),
    ((125.0, 60.0, 0.5, 0.5, 3.0, 0.0), 3, 0, 'sign'),
    ((150.0, 50.0, 4.5, 2.0, 1.6, 0.0), 1, 0, 'hidden car'),  # behind the wall
)
WALL, FAR_WALL = 140.0, 160.0  # x of two walls in the world; the second return sees through the first one
NO_LABEL_ZONE = np.array([[95.0, 45.0], [105.0, 45.0], [105.0, 48.0], [95.0, 48.0]])  # in the world
TOP, FRONT = 1, 2


def transform(rotation, translation):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.as_matrix(), translation
    return matrix


LIDARS = {  # extrinsic, size, inclinations (ascending; None: evenly between the limits), limits
    TOP: (transform(Rotation.from_euler('ZYX', [0.7, 0.01, -0.02]), [1.4, 0.1, 2.1]), (12, 60),
          np.radians([-17, -13, -10, -8, -6, -5, -4, -3, -2, -1, 0.5, 2]), (-0.3, 0.05)),
    FRONT: (transform(Rotation.from_euler('ZYX', [-0.2, 0.0, 0.0]), [4.0, 0.0, 0.7]), (6, 30), None, (-0.6, 0.4)),
}  # fmt: skip
CAMERA = transform(Rotation.from_euler('ZYX', [0.05, 0.02, 0.0]), [1.5, 0.0, 2.1])
INTRINSIC = [2000.0, 2010.0, 960.0, 640.0, 0.04, -0.3, 0.0, 0.0, 0.0]


@dataclass
class Image:
    """A range image and what it shows.

    Attributes:
        values: ``(H, W, 4)`` float32 range, intensity, elongation, no-label zone.
        world: ``(H, W, 3)`` what each ray hits, NaN for nothing.
    """

    values: np.ndarray
    world: np.ndarray


@dataclass
class Frame:
    """A frame of the drive: pose, range images by LiDAR, poses of the roof LiDAR's pixels."""

    time: int
    pose: np.ndarray
    images: dict[int, list[Image]] = field(default_factory=dict)
    pixel_pose: np.ndarray | None = None

    def to_vehicle(self, world):
        return (world - self.pose[:3, 3]) @ self.pose[:3, :3]


def vehicle_pose(seconds):
    """Roll, pitch, yaw, x, y, z of the vehicle: it drives a curve at 12 m/s, on a road that leans a little."""
    turned = 0.3 + 0.5 * seconds
    return np.array([0.01, -0.02, turned, 100 + 12 * seconds, 50 + 2 * seconds, 0.4])


def pose_matrix(values):
    return transform(Rotation.from_euler('ZYX', [values[2], values[1], values[0]]), values[3:])


@lru_cache
def frame(number):
    """Frame of the drive; the same object at every call, do not change it."""
    seconds = 0.1 * number
    result = Frame(START + 100_000 * number, pose_matrix(vehicle_pose(seconds)))
    for name, (extrinsic, (rows, columns), inclinations, limits) in LIDARS.items():
        angles = inclinations
        if angles is None:
            angles = limits[0] + (np.arange(rows) + 0.5) / rows * (limits[1] - limits[0])
        yaw = Rotation.from_matrix(extrinsic[:3, :3]).as_euler('ZYX')[0]
        # Columns sweep clockwise from the back; azimuths are about the vehicle, so the LiDAR's own are turned back.
        azimuth = np.pi - (np.arange(columns) + 0.5) * 2 * np.pi / columns - yaw
        poses = np.stack(
            [vehicle_pose(seconds + (0.1 * (k / columns - 0.5) if name == TOP else 0)) for k in range(columns)]
        )
        images = [[], []]
        for row in range(rows):
            rays = Rotation.from_euler('ZY', np.column_stack((azimuth, np.full(columns, -angles[::-1][row]))))
            in_vehicle = rays.apply([1, 0, 0]) @ extrinsic[:3, :3].T
            for column in range(columns):
                pose = pose_matrix(poses[column])
                origin = pose[:3, :3] @ extrinsic[:3, 3] + pose[:3, 3]
                hits = cast(origin, pose[:3, :3] @ in_vehicle[column])
                for image, distance in zip(images, hits, strict=True):
                    image.append((distance, origin + distance * (pose[:3, :3] @ in_vehicle[column])))
        result.images[name] = [pixels(image, (rows, columns), number, name) for image in images]
        if name == TOP:
            result.pixel_pose = np.broadcast_to(poses, (rows, columns, 6)).astype(np.float32)
    return result


def cast(origin, direction):
    """Distances of the first and the second return; 0 for none."""
    surfaces = [plane(origin, direction, 2, 0.0), plane(origin, direction, 0, WALL)]
    surfaces += [box(origin, direction, shape) for shape, *_ in OBJECTS[:4]]
    first = min((d for d in surfaces if 0 < d < 75), default=0.0)
    second = plane(origin, direction, 0, FAR_WALL)
    through = np.isclose(first, surfaces[1]) and 0 < second < 75
    return first, second if through else 0.0


def plane(origin, direction, axis, value):
    return (value - origin[axis]) / direction[axis] if direction[axis] else -1.0


def box(origin, direction, shape):
    """Distance to a box that stands on the ground (slabs in its own frame)."""
    x, y, length, width, height, heading = shape
    turn = Rotation.from_euler('z', -heading)
    o, d = turn.apply(origin - [x, y, height / 2]), turn.apply(direction)
    with np.errstate(divide='ignore'):
        near, far = np.sort([(s * np.array([length, width, height]) / 2 - o) / d for s in (-1, 1)], axis=0)
    return near.max() if near.max() < far.min() else -1.0


def pixels(image, size, number, name):
    distance = np.array([d for d, _ in image]).reshape(size)
    world = np.array([point for _, point in image]).reshape(*size, 3)
    world[distance == 0] = np.nan
    random = np.random.default_rng(10 * number + name)
    zone = np.where(
        (world[..., 0] > 95) & (world[..., 0] < 105) & (world[..., 1] > 45) & (world[..., 1] < 48), 1.0, -1.0
    )
    values = np.stack((distance, random.gamma(1, 2, size), random.random(size) * 1.5, zone), -1)
    values[distance == 0] = -1
    return Image(values.astype(np.float32), world)


def labels(one):
    """Rows of the frame's labels: box in the vehicle frame, type, difficulty, points, name."""
    tilt = Rotation.from_matrix(one.pose[:3, :3]).as_euler('ZYX')
    for (x, y, length, width, height, heading), type_, level, name in OBJECTS:
        centre = one.to_vehicle(np.array([x, y, height / 2]))
        yield (*centre, length, width, height, heading - tilt[0]), type_, level, 0 if 'hidden' in name else 20, name


def known_points(one, zones=False):
    """All points of a frame in the vehicle frame, with tanh of the intensity and the elongation, return by return."""
    parts = []
    for number in range(2):
        for name in sorted(one.images):
            image = one.images[name][number]
            chosen = (image.values[..., 0] > 0) & (zones | (image.values[..., 3] != 1))
            features = np.column_stack((np.tanh(image.values[chosen][:, 1]), image.values[chosen][:, 2]))
            parts.append(np.column_stack((one.to_vehicle(image.world[chosen]), features)))
    return np.concatenate(parts)


def compress(values):
    message = compiled(LABEL + DATASET)['MatrixFloat']()
    message.data.extend(values.reshape(-1).tolist())
    message.shape.dims.extend(values.shape)
    return zlib.compress(message.SerializeToString())


def record(one, segment=SEGMENT, labelled=True):
    """The bytes of a frame of version 1."""
    message = compiled(LABEL + DATASET)['Frame']()
    message.context.name, message.timestamp_micros = segment, one.time
    message.context.stats.location = 'location_sf'
    message.pose.transform.extend(one.pose.reshape(-1))
    camera = message.context.camera_calibrations.add(name=1, intrinsic=INTRINSIC, width=1920, height=1280)
    camera.extrinsic.transform.extend(CAMERA.reshape(-1))
    message.images.add(name=1, image=b'a picture that nobody reads')
    for name in (FRONT, TOP):  # in another order than by number
        extrinsic, _, inclinations, limits = LIDARS[name]
        calibration = message.context.laser_calibrations.add(name=name)
        calibration.beam_inclination_min, calibration.beam_inclination_max = limits
        calibration.beam_inclinations.extend([] if inclinations is None else inclinations)
        calibration.extrinsic.transform.extend(extrinsic.reshape(-1))
        laser = message.lasers.add(name=name)
        for part, image in zip((laser.ri_return1, laser.ri_return2), one.images[name], strict=True):
            part.range_image_compressed = compress(image.values)
        if name == TOP:
            laser.ri_return1.range_image_pose_compressed = compress(one.pixel_pose)
    for box_, type_, level, points, name in labels(one) if labelled else ():
        label = message.laser_labels.add(type=type_, id=name, num_lidar_points_in_box=points)
        if level:
            label.detection_difficulty_level = level
        names = ('center_x', 'center_y', 'center_z', 'length', 'width', 'height', 'heading')
        for field_name, value in zip(names, box_, strict=True):
            setattr(label.box, field_name, value)
    message.no_label_zones.add(x=NO_LABEL_ZONE[:, 0], y=NO_LABEL_ZONE[:, 1], id='zone')
    return message.SerializeToString()


def write_records(path, frames, **options):
    """Write a segment of version 1."""
    import google_crc32c

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tfrecord([record(one, **options) for one in frames], google_crc32c.value))


def write_tables(folder, frames, segment=SEGMENT, labelled=True):
    """Write a segment of version 2: a Parquet file for each component."""
    key = {'key.segment_context_name': segment}
    lidar, poses, boxes, vehicle = [], [], [], []
    for one in frames:
        frame_key = {**key, 'key.frame_timestamp_micros': one.time}
        vehicle.append(
            {**frame_key, '[VehiclePoseComponent].world_from_vehicle.transform': one.pose.reshape(-1).tolist()}
        )
        for name in (FRONT, TOP):
            row = {**frame_key, 'key.laser_name': name}
            for number, image in enumerate(one.images[name], 1):
                column = f'[LiDARComponent].range_image_return{number}'
                row |= {f'{column}.values': image.values.reshape(-1), f'{column}.shape': list(image.values.shape)}
            lidar.append(row)
        column = '[LiDARPoseComponent].range_image_return1'
        pose = {f'{column}.values': one.pixel_pose.reshape(-1), f'{column}.shape': list(one.pixel_pose.shape)}
        poses.append({**frame_key, 'key.laser_name': TOP, **pose})
        for box_, type_, level, points, name in labels(one):
            parts = ('center.x', 'center.y', 'center.z', 'size.x', 'size.y', 'size.z', 'heading')
            values = {f'box.{part}': value for part, value in zip(parts, box_, strict=True)}
            values |= {'type': type_, 'num_lidar_points_in_box': points, 'difficulty_level.detection': level}
            row = {f'[LiDARBoxComponent].{part}': value for part, value in values.items()}
            boxes.append({**frame_key, 'key.laser_object_id': name, **row})
    calibrations = [
        {
            **key,
            'key.laser_name': name,
            '[LiDARCalibrationComponent].extrinsic.transform': extrinsic.reshape(-1).tolist(),
            '[LiDARCalibrationComponent].beam_inclination.min': limits[0],
            '[LiDARCalibrationComponent].beam_inclination.max': limits[1],
            '[LiDARCalibrationComponent].beam_inclination.values': None
            if inclinations is None
            else inclinations.tolist(),
        }
        for name, (extrinsic, _, inclinations, limits) in LIDARS.items()
    ]
    intrinsic = {
        f'intrinsic.{part}': value for part, value in zip(('f_u', 'f_v', 'c_u', 'c_v'), INTRINSIC, strict=False)
    }
    camera = {**intrinsic, 'extrinsic.transform': CAMERA.reshape(-1).tolist(), 'width': 1920, 'height': 1280}
    cameras = [{**key, 'key.camera_name': 1, **{f'[CameraCalibrationComponent].{k}': v for k, v in camera.items()}}]
    tables = {
        'lidar': lidar[::-1],  # the order of rows is not promised
        'lidar_pose': poses,
        'lidar_calibration': calibrations,
        'camera_calibration': cameras,
        'vehicle_pose': vehicle,
        **({'lidar_box': boxes} if labelled else {}),
    }
    for component, rows in tables.items():
        (folder / component).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / component / f'{segment}.parquet', row_group_size=3)
