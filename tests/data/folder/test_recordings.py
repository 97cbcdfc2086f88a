"""Clouds of recordings that others' writers wrote, in both encodings of MCAP and in rosbag2."""

from types import SimpleNamespace

import numpy as np
import pytest

from ssal3d.annotation.scans import frame_points
from ssal3d.annotation.sources import frames_of_folder
from ssal3d.data.folder.converter import convert_folder
from ssal3d.data.folder.recordings import columns_of, extract
from ssal3d.errors import UserError
from tests.helpers.kitti_street import boxes_of, scan_of
from tests.helpers.recording_files import ROS2_DEFINITION

START = 1_700_000_000 * 10**9


def clouds(number=3):
    random = np.random.default_rng(0)
    return [scan_of(random, boxes_of(random)[1])[:1000] for _ in range(number)]


def fields():
    return [dict(name=name, offset=4 * k, datatype=7, count=1) for k, name in enumerate(('x', 'y', 'z', 'intensity'))]


def as_ros2_mcap(path, scans, topics=('/lidar',), tenths=None):
    pytest.importorskip('mcap_ros2')
    from mcap_ros2.writer import Writer

    with open(path, 'wb') as file, Writer(file) as writer:
        schema = writer.register_msgdef('sensor_msgs/msg/PointCloud2', ROS2_DEFINITION)
        for number, points in enumerate(scans):
            time = START + (tenths or range(len(scans)))[number] * 10**8
            stamp = dict(sec=time // 10**9, nanosec=time % 10**9)
            message = dict(
                header=dict(stamp=stamp, frame_id='lidar'),
                height=1,
                width=len(points),
                fields=fields(),
                is_bigendian=False,
                point_step=16,
                row_step=16 * len(points),
                data=points.tobytes(),
                is_dense=True,
            )
            for topic in topics:
                writer.write_message(topic, schema, message, log_time=time + 5, publish_time=time, sequence=number)


def as_foxglove_mcap(path, scans):
    pytest.importorskip('mcap_protobuf')
    pytest.importorskip('foxglove_schemas_protobuf')
    from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
    from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
    from mcap_protobuf.writer import Writer

    with open(path, 'wb') as file, Writer(file) as writer:
        for number, points in enumerate(scans):
            time = START + number * 10**8
            names = ('x', 'y', 'z', 'intensity')
            message = PointCloud(
                frame_id='lidar',
                point_stride=16,
                fields=[PackedElementField(name=n, offset=4 * k, type=7) for k, n in enumerate(names)],
                data=points.tobytes(),
            )
            message.timestamp.seconds, message.timestamp.nanos = time // 10**9, time % 10**9
            writer.write_message('/lidar', message, log_time=time + 5, publish_time=time)


def as_rosbag2(path, scans):
    pytest.importorskip('rosbags')
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    types = store.types
    with Writer(path, version=8) as writer:
        connection = writer.add_connection('/lidar', 'sensor_msgs/msg/PointCloud2', typestore=store)
        for number, points in enumerate(scans):
            time = START + number * 10**8
            stamp = types['builtin_interfaces/msg/Time'](time // 10**9, time % 10**9)
            message = types['sensor_msgs/msg/PointCloud2'](
                types['std_msgs/msg/Header'](stamp, 'lidar'),
                1,
                len(points),
                [types['sensor_msgs/msg/PointField'](**field) for field in fields()],
                False,
                16,
                16 * len(points),
                np.frombuffer(points.tobytes(), np.uint8),
                True,
            )
            writer.write(connection, time + 5, store.serialize_cdr(message, 'sensor_msgs/msg/PointCloud2'))


WRITERS = {'ros2.mcap': as_ros2_mcap, 'foxglove.mcap': as_foxglove_mcap, 'bag': as_rosbag2}


@pytest.mark.parametrize('name', WRITERS)
def test_clouds_become_scans_that_convert(tmp_path, name):
    scans = clouds()
    WRITERS[name](tmp_path / name, scans)
    stem = name.partition('.')[0]
    assert extract([tmp_path / name], tmp_path / 'out') == {stem: 3}
    files = sorted((tmp_path / 'out' / stem / 'points').iterdir())
    assert [file.stem for file in files] == [str(START + number * 10**8) for number in range(3)], (
        'the stamp, not the log'
    )
    for file, points in zip(files, scans, strict=True):
        rows = np.load(file)
        np.testing.assert_array_equal(np.column_stack([rows[n] for n in ('x', 'y', 'z', 'intensity')]), points)
    (summary,) = convert_folder(tmp_path / 'out', tmp_path / 'converted', ['car'], workers=1)
    assert (summary.frames, summary.points) == (3, 3000)


def test_one_of_two(tmp_path):
    as_ros2_mcap(tmp_path / 'a.mcap', clouds(5))
    assert extract([tmp_path / 'a.mcap'], tmp_path / 'out', every=2) == {'a': 3}
    times = (tmp_path / 'out' / 'a' / 'times.txt').read_text().split()
    assert times == ['1700000000.000000000', '1700000000.200000000', '1700000000.400000000']


def test_topics(tmp_path):
    as_ros2_mcap(tmp_path / 'a.mcap', clouds(1), topics=('/front', '/rear'))
    with pytest.raises(
        UserError, match=r'found 2 topics of clouds \(/front, /rear\), expected one; choose with --topic'
    ):
        extract([tmp_path / 'a.mcap'], tmp_path / 'out')
    with pytest.raises(UserError, match=r"unknown topic of clouds .* '/fornt'.*did you mean '/front'"):
        extract([tmp_path / 'a.mcap'], tmp_path / 'out', topic='/fornt')
    assert not (tmp_path / 'out' / 'a').exists(), 'nothing half done'
    assert extract([tmp_path / 'a.mcap'], tmp_path / 'out', topic='/rear') == {'a': 1}
    with pytest.raises(UserError, match='was taken out before'):
        extract([tmp_path / 'a.mcap'], tmp_path / 'out', topic='/rear')


def test_doubled_stamps_are_left_out_and_told_and_others_put_in_order(tmp_path, capsys):
    scans = clouds(4)
    as_ros2_mcap(tmp_path / 'a.mcap', scans, tenths=(0, 0, 3, 1))
    assert extract([tmp_path / 'a.mcap'], tmp_path / 'out') == {'a': 3}
    assert 'a.mcap: left out 1 of 4 clouds, whose time one before them has already' in capsys.readouterr().out
    times = (tmp_path / 'out' / 'a' / 'times.txt').read_text().split()
    assert times == [f'1700000000.{tenth}00000000' for tenth in (0, 1, 3)]
    found = [np.load(path)['x'] for path in sorted((tmp_path / 'out' / 'a' / 'points').iterdir())]
    for rows, number in zip(found, (0, 3, 2), strict=True):
        np.testing.assert_array_equal(rows, scans[number][:, 0])


def test_of_several_recordings_all_appear_or_none(tmp_path):
    out = tmp_path / 'out'
    as_ros2_mcap(tmp_path / 'a.mcap', clouds(2))
    (tmp_path / 'b.mcap').write_bytes(b'no recording at all')
    (tmp_path / 'other').mkdir()
    as_ros2_mcap(tmp_path / 'other' / 'a.mcap', clouds(2))
    with pytest.raises(UserError, match=r'b\.mcap: not a readable recording'):
        extract([tmp_path / 'a.mcap', tmp_path / 'b.mcap'], out)
    with pytest.raises(UserError, match=r'c\.mcap: no such recording'):
        extract([tmp_path / 'a.mcap', tmp_path / 'c.mcap'], out)
    with pytest.raises(UserError, match=r'other/a\.mcap: would be written to .*out/a like .*; rename one of them'):
        extract([tmp_path / 'a.mcap', tmp_path / 'other' / 'a.mcap'], out)
    assert list(out.iterdir()) == [], 'nothing of a failed run'
    assert extract([tmp_path / 'a.mcap'], out) == {'a': 2}, 'so the same command works when the others are mended'


def test_folders_keep_their_whole_name(tmp_path):
    as_ros2_mcap(tmp_path / 'drive_2026.05.mcap', clouds(1))
    for day in ('01', '02'):
        as_rosbag2(tmp_path / f'drive_2026.05.{day}', clouds(1))
    found = extract(sorted(tmp_path.iterdir()), tmp_path / 'out')
    assert sorted(found) == ['drive_2026.05', 'drive_2026.05.01', 'drive_2026.05.02']


def test_scans_of_a_recording_go_to_the_annotators(tmp_path):
    scans = clouds(2)
    as_ros2_mcap(tmp_path / 'a.mcap', scans)
    extract([tmp_path / 'a.mcap'], tmp_path / 'out')
    frames = frames_of_folder(tmp_path / 'out' / 'a' / 'points')
    for frame, points in zip(frames.values(), scans, strict=True):
        np.testing.assert_array_equal(frame_points(frame), points)


def test_damaged_and_missing_recordings(tmp_path):
    pytest.importorskip('mcap')
    (tmp_path / 'a.mcap').write_bytes(b'no recording at all')
    with pytest.raises(UserError, match=r'a\.mcap: not a readable recording'):
        extract([tmp_path / 'a.mcap'], tmp_path / 'out')
    with pytest.raises(UserError, match=r'b\.mcap: no such recording'):
        extract([tmp_path / 'b.mcap'], tmp_path / 'out')


# ---------------------------------------------------------------- layouts of PointCloud2


def message(data, kinds, step, **changes):
    entries = [
        SimpleNamespace(name=name, offset=offset, datatype=kind, count=count) for name, offset, kind, count in kinds
    ]
    given = dict(
        fields=entries, point_step=step, is_bigendian=False, height=1, width=len(data) // step, row_step=len(data)
    )
    return SimpleNamespace(data=data, **{**given, **changes})


def test_types_gaps_and_big_endian():
    layout = np.dtype(
        {'names': ['x', 'ring', 't'], 'formats': ['>f4', '>u2', '>f8'], 'offsets': [0, 6, 8], 'itemsize': 24}
    )
    rows = np.zeros(3, layout)
    rows['x'], rows['ring'], rows['t'] = [1, 2, 3], [7, 8, 65535], [0.1, 0.2, 0.3]
    kinds = [('x', 0, 7, 1), ('ring', 6, 4, 1), ('t', 8, 8, 1)]
    found = columns_of(message(rows.tobytes(), kinds, 24, is_bigendian=True))
    assert found['ring'].tolist() == [7, 8, 65535]
    assert found['x'].tolist() == [1, 2, 3]
    assert found['t'].tolist() == [0.1, 0.2, 0.3]


def test_organised_clouds_with_padded_rows():
    points = np.arange(6, dtype=np.float32)
    padded = b''.join(points[row * 3 : row * 3 + 3].tobytes() + b'\xff' * 5 for row in range(2))
    found = columns_of(message(padded, [('x', 0, 7, 1)], 4, height=2, width=3, row_step=17))
    assert found['x'].tolist() == list(range(6))
    with pytest.raises(UserError, match=r'a cloud is damaged \(found 34 bytes for 3 rows'):
        columns_of(message(padded, [('x', 0, 7, 1)], 4, height=3, width=3, row_step=17))


def test_unknown_types_and_arrays_in_a_field():
    with pytest.raises(UserError, match="field 'x' of a cloud has an unknown type"):
        columns_of(message(b'\0' * 8, [('x', 0, 99, 1)], 4))
    found = columns_of(message(np.arange(8, dtype=np.float32).tobytes(), [('x', 0, 7, 1), ('n', 4, 7, 3)], 16))
    assert found.dtype.names == ('x',), 'a field of three numbers is no column'
    assert found['x'].tolist() == [0, 4]
