"""A frame of Waymo in both versions, put together byte by byte: its points, boxes and zones are worked out by hand.

Fields and columns: https://github.com/waymo-research/waymo-open-dataset, ``dataset.proto``, ``label.proto`` and ``v2``.
"""

import struct
import zlib

import numpy as np

from ssal3d.data.waymo_frame import frame_points
from ssal3d.data.waymo_parquet import read_parquet_frames
from ssal3d.data.waymo_records import read_record_frames
from tests.helpers.parquet_file import DOUBLE, FLOAT, INT32, INT64, TEXT, parquet_file
from tests.helpers.waymo_wire import tfrecord
from tests.helpers.wire import bytes_field, double_field, number_field

TOP, FRONT = 1, 2
TIME = 1_543_251_275_000_000
HALF = 0.7071067811865476
NOTHING = (-1.0, -1.0, -1.0, -1.0)
# Rows of pixels of range, intensity, elongation, 1 in a no-label zone. Four columns look at 135, 45, -45, -135 degrees.
ROOF = [
    [(10.0, 0.5, 0.25, -1.0), (20.0, 2.0, 0.0, -1.0), NOTHING, NOTHING],  # level
    [NOTHING, (4.0, 0.0, 1.0, 1.0), (8.0, 1.0, 0.5, -1.0), NOTHING],  # 30 degrees below the horizon
]
BUMPER = [[NOTHING, (6.0, 0.75, 0.125, -1.0), NOTHING, NOTHING]]
BEHIND_GLASS = [[NOTHING, (12.0, 0.125, 0.0, -1.0), NOTHING, NOTHING]]  # the second return
# In the world, the vehicle is at (100, 50, 1) and looks along y; its roof swept while it drove 2 m on.
POSE = (0, -1, 0, 100, 1, 0, 0, 50, 0, 0, 1, 1, 0, 0, 0, 1)
ON_THE_WAY = (0.0, 0.0, np.pi / 2, 100.0, 52.0, 1.0)  # roll, pitch, yaw, x, y, z of a pixel


CAR = (10.0, -3.0, 0.5, 4.5, 2.0, 1.5, 0.25)


def doubles(field, values):
    return b''.join(double_field(field, value) for value in values)


def extrinsic(x, z):
    return [1.0, 0.0, 0.0, x, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, z, 0.0, 0.0, 0.0, 1.0]


def placed(x, z):
    return bytes_field(5, doubles(1, extrinsic(x, z)))


def matrix(rows):
    values = [value for row in rows for pixel in row for value in pixel]
    shape = b''.join(number_field(1, size) for size in (len(rows), len(rows[0]), len(rows[0][0])))
    return zlib.compress(bytes_field(1, struct.pack(f'<{len(values)}f', *values)) + bytes_field(2, shape))


def laser(name, first, second=None, poses=None):
    returned = bytes_field(2, matrix(first)) + (bytes_field(4, matrix(poses)) if poses else b'')
    return bytes_field(
        5,
        number_field(1, name)
        + bytes_field(2, returned)
        + (bytes_field(3, bytes_field(2, matrix(second))) if second else b''),
    )


def label(box, kind, name, points):
    x, y, z, length, width, height, heading = box
    fields = (
        doubles(1, [x]) + double_field(2, y) + double_field(3, z) + double_field(4, width) + double_field(5, length)
    )
    fields += double_field(6, height) + double_field(7, heading)
    return bytes_field(
        6, bytes_field(1, fields) + number_field(3, kind) + bytes_field(4, name) + number_field(7, points)
    )


def frame():
    roof = number_field(1, TOP) + doubles(2, (-np.pi / 6, 0.0)) + placed(1.0, 2.0)
    bumper = number_field(1, FRONT) + double_field(3, -0.5) + double_field(4, 0.5) + placed(4.0, 0.5)
    context = bytes_field(1, 'segment') + bytes_field(3, bumper) + bytes_field(3, roof)
    zone = doubles(1, (90, 95, 95)) + doubles(2, (60, 60, 70))
    return (
        bytes_field(1, context)
        + number_field(2, TIME)
        + bytes_field(3, doubles(1, POSE))
        + laser(FRONT, BUMPER, BEHIND_GLASS)
        + laser(TOP, ROOF, poses=[[ON_THE_WAY] * 4] * 2)
        + label(CAR, 1, 'a car', 7)
        + bytes_field(7, zone)
    )


def flat(rows):
    return [value for row in rows or () for pixel in row for value in pixel]


def shape(rows):
    return [len(rows), len(rows[0]), len(rows[0][0])] if rows else []


def tables():
    """The columns of each component of the second version, for the frame of `frame`."""
    time, segment = ('key.frame_timestamp_micros', (INT64, [TIME])), ('key.segment_context_name', (TEXT, ['segment']))
    two = [('key.segment_context_name', (TEXT, ['segment'] * 2)), ('key.laser_name', (INT32, [FRONT, TOP]))]
    lidar = [*two, ('key.frame_timestamp_micros', (INT64, [TIME] * 2))]
    for number, images in ((1, (BUMPER, ROOF)), (2, (BEHIND_GLASS, None))):
        name = f'[LiDARComponent].range_image_return{number}'
        lidar.append((f'{name}.values', (FLOAT, [flat(image) for image in images])))
        lidar.append((f'{name}.shape', (INT32, [shape(image) for image in images])))
    poses, name = [[ON_THE_WAY] * 4] * 2, '[LiDARPoseComponent].range_image_return1'
    calibration = '[LiDARCalibrationComponent]'
    box = '[LiDARBoxComponent]'
    parts = ('box.center.x', 'box.center.y', 'box.center.z', 'box.size.x', 'box.size.y', 'box.size.z', 'box.heading')
    return {
        'lidar': lidar,
        'lidar_pose': [
            *(segment, time, ('key.laser_name', (INT32, [TOP]))),
            *((f'{name}.values', (FLOAT, [flat(poses)])), (f'{name}.shape', (INT32, [shape(poses)]))),
        ],
        'lidar_calibration': [
            *two,
            (f'{calibration}.extrinsic.transform', (DOUBLE, [extrinsic(4.0, 0.5), extrinsic(1.0, 2.0)])),
            (f'{calibration}.beam_inclination.values', (DOUBLE, [[], [-np.pi / 6, 0.0]])),
            (f'{calibration}.beam_inclination.min', (DOUBLE, [-0.5, 0.0])),
            (f'{calibration}.beam_inclination.max', (DOUBLE, [0.5, 0.0])),
        ],
        'vehicle_pose': [
            *(segment, time),
            ('[VehiclePoseComponent].world_from_vehicle.transform', (DOUBLE, [[float(value) for value in POSE]])),
        ],
        'lidar_box': [
            *(segment, time, ('key.laser_object_id', (TEXT, ['a car']))),
            *((f'{box}.{part}', (DOUBLE, [value])) for part, value in zip(parts, CAR, strict=True)),
            *((f'{box}.{name}', (INT32, [value])) for name, value in (('type', 1), ('num_lidar_points_in_box', 7))),
            (f'{box}.difficulty_level.detection', (INT32, [2])),
        ],
    }


def check(found):
    """Points and boxes are those worked out by hand."""
    assert (found.segment, found.timestamp) == ('segment', TIME)
    np.testing.assert_array_equal(found.pose.reshape(-1), POSE)
    low = np.cos(np.pi / 6)
    expected = [
        # The roof stands at (1, 0, 2), and 2 m farther on when it swept; the pixel of a no-label zone is left out.
        (3 - 10 * HALF, 10 * HALF, 2, np.tanh(0.5), 0.25, 0),
        (3 + 20 * HALF, 20 * HALF, 2, np.tanh(2.0), 0, 1),
        (3 + 8 * low * HALF, -8 * low * HALF, 2 - 4, np.tanh(1.0), 0.5, 6),
        # The bumper's one beam lies in the middle of its limits, at the horizon.
        (4 + 6 * HALF, 6 * HALF, 0.5, np.tanh(0.75), 0.125, -1),
        (4 + 12 * HALF, 12 * HALF, 0.5, np.tanh(0.125), 0, -1),
    ]
    points, in_zone = frame_points(found)
    np.testing.assert_allclose(points, expected, atol=2e-6)
    assert in_zone == 1
    with_zone, _ = frame_points(found, keep_no_label_zones=True)
    np.testing.assert_allclose(with_zone[2], (3 + 4 * low * HALF, 4 * low * HALF, 0, 0, 1, 5), atol=2e-6)
    assert found.labels.boxes.tolist() == [list(CAR)]
    assert (found.labels.types.tolist(), found.labels.ids, found.labels.num_points.tolist()) == ([1], ['a car'], [7])


def test_version_one_gives_the_points_boxes_and_zones_of_its_bytes(tmp_path):
    (tmp_path / 'a.tfrecord').write_bytes(tfrecord([frame()]))
    (found,) = read_record_frames(tmp_path / 'a.tfrecord')
    check(found)
    np.testing.assert_allclose(found.no_label_zones, [[(10, 10), (10, 5), (20, 5)]], atol=1e-9)


def test_version_two_gives_the_points_and_boxes_of_its_bytes(tmp_path):
    for component, columns in tables().items():
        (tmp_path / component).mkdir()
        (tmp_path / component / 'segment.parquet').write_bytes(parquet_file(dict(columns)))
    (found,) = read_parquet_frames(tmp_path, 'segment.parquet')
    check(found)
    assert found.labels.levels.tolist() == [2]
