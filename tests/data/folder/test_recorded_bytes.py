"""Recordings that no library wrote give exactly the points and times that stand in their bytes."""

import numpy as np
import pytest

from ssal3d.data.folder.recordings import extract
from tests.helpers.recording_files import (
    foxglove_cloud,
    foxglove_schema,
    mcap_file,
    ros1_bag,
    ros1_cloud,
    ros2_cloud,
    write_mcap_bag,
    write_sqlite_bag,
)

# x, y, z, intensity, ring, time: numbers that float32 holds exactly.
CLOUDS = {
    1_700_000_000_123_456_789: [(1.5, -2.25, 0.125, 17.0, 0, 0.0), (-64.5, 3.0, -1.75, 255.0, 31, 0.0625)],
    1_700_000_000_223_456_788: [(0.5, 0.25, 2.0, 0.0, 15, 0.03125)],
    1_700_000_001_000_000_001: [(8.0, 9.0, 10.0, 11.0, 12, 0.5)] * 3,
}
LATE = 4_000_000  # nanoseconds between measuring and logging


def logged(serialise):
    return [(time + LATE, serialise(time, rows)) for time, rows in CLOUDS.items()]


def bytes_to(path, content):
    path.write_bytes(content)


def foxglove_file():
    schema = ('foxglove.PointCloud', 'protobuf', foxglove_schema(), 'protobuf')
    return mcap_file(logged(foxglove_cloud), schema=schema)


RECORDINGS = {
    'MCAP, ROS 2, chunked and indexed': ('a.mcap', lambda path: bytes_to(path, mcap_file(logged(ros2_cloud)))),
    'MCAP, ROS 2, without chunks': (
        'b.mcap',
        lambda path: bytes_to(path, mcap_file(logged(ros2_cloud), chunked=False)),
    ),
    'MCAP, ROS 2, without a summary': (
        'c.mcap',
        lambda path: bytes_to(path, mcap_file(logged(ros2_cloud), summary=False)),
    ),
    'MCAP, ROS 2, without chunks and summary': (
        'd.mcap',
        lambda path: bytes_to(path, mcap_file(logged(ros2_cloud), chunked=False, summary=False)),
    ),
    'MCAP, Foxglove in protobuf': ('e.mcap', lambda path: bytes_to(path, foxglove_file())),
    'rosbag2 in SQLite': ('f', lambda path: write_sqlite_bag(path, logged(ros2_cloud))),
    'rosbag2 in MCAP': ('g', lambda path: write_mcap_bag(path, logged(ros2_cloud))),
    'ROS 1 bag': ('h.bag', lambda path: bytes_to(path, ros1_bag(logged(ros1_cloud)))),
}


@pytest.mark.parametrize('title', RECORDINGS)
def test_points_and_times_are_those_of_the_bytes(tmp_path, title):
    name, write = RECORDINGS[title]
    for package in ('mcap', 'mcap_ros2', 'mcap_protobuf') if name.endswith('.mcap') else ('rosbags',):
        pytest.importorskip(package)
    write(tmp_path / name)
    stem = name.partition('.')[0]
    assert extract([tmp_path / name], tmp_path / 'out') == {stem: 3}
    points = tmp_path / 'out' / stem / 'points'
    assert sorted(path.name for path in points.iterdir()) == [f'{time}.npy' for time in CLOUDS], 'measured, not logged'
    for time, rows in CLOUDS.items():
        found = np.load(points / f'{time}.npy')
        assert found.dtype.names == ('x', 'y', 'z', 'intensity', 'ring', 'time')
        assert found.tolist() == rows
    times = (tmp_path / 'out' / stem / 'times.txt').read_text().split()
    assert times == ['1700000000.123456789', '1700000000.223456788', '1700000001.000000001']
