"""Frames of both versions of the data set, from files that protobuf and pyarrow wrote: every point is known."""

import zlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssal3d.data.tfrecord import masked_crc
from ssal3d.data.waymo_frame import frame_points
from ssal3d.data.waymo_parquet import read_parquet_frames
from ssal3d.data.waymo_records import read_record_frames
from ssal3d.errors import UserError
from tests.helpers import waymo_scene
from tests.helpers.waymo_scene import SEGMENT, TOP, known_points, write_records, write_tables
from tests.helpers.waymo_wire import DATASET, LABEL, compiled, tfrecord

COUNT = 3


@pytest.fixture(scope='module')
def scene():
    return [waymo_scene.frame(number) for number in range(COUNT)]


@pytest.fixture(scope='module')
def root(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp('waymo')
    write_records(folder / 'a.tfrecord', scene)
    write_tables(folder / 'v2', scene)
    return folder


def read(root, version, interval=1, labelled=True):
    if version == 1:
        return list(read_record_frames(root / 'a.tfrecord', interval, labelled))
    frames = read_parquet_frames(root / 'v2', f'{SEGMENT}.parquet', interval, labelled)
    return sorted(frames, key=lambda frame: frame.index)


@pytest.mark.parametrize('version', [1, 2])
def test_points_are_where_the_rays_hit(root, scene, version):
    frames = read(root, version)
    assert len(frames) == COUNT
    for frame, known in zip(frames, scene, strict=True):
        for zones in (False, True):
            points, in_zone = frame_points(frame, keep_no_label_zones=zones)
            expected = known_points(known, zones)
            assert points.shape == (len(expected), 6)
            np.testing.assert_allclose(points[:, :5], expected, atol=3e-5)
            assert in_zone == (0 if zones else len(known_points(known, True)) - len(expected))
        assert len(known_points(known, True)) > len(known_points(known)) > 400


@pytest.mark.parametrize('version', [1, 2])
def test_the_world_stands_still_while_the_vehicle_drives(root, version):
    # Points on the wall have one x in the world, in every frame and column, or poses were mixed up.
    for frame in read(root, version):
        points, _ = frame_points(frame)
        world = points[:, :3] @ frame.pose[:3, :3].T + frame.pose[:3, 3]
        wall = (np.abs(world[:, 0] - waymo_scene.WALL) < 1) & (world[:, 2] > 0.2)  # above the ground
        assert wall.sum() > 20
        np.testing.assert_allclose(world[wall, 0], waymo_scene.WALL, atol=1e-4)


@pytest.mark.parametrize('version', [1, 2])
def test_the_sixth_value_is_the_pixel_of_the_roof_lidar(root, scene, version):
    frame, known = read(root, version)[0], scene[0]
    points, _ = frame_points(frame, keep_no_label_zones=True)
    top = [image.values[..., 0] > 0 for image in known.images[TOP]]
    expected = np.concatenate((np.flatnonzero(top[0]), top[0].size + np.flatnonzero(top[1])))
    np.testing.assert_array_equal(points[points[:, 5] >= 0, 5], expected)
    assert (points[:, 5] == -1).sum() == len(points) - len(expected) > 0


@pytest.mark.parametrize('version', [1, 2])
def test_labels_and_names_are_read(root, scene, version):
    frame = read(root, version)[1]
    assert (frame.segment, frame.index, frame.timestamp) == (SEGMENT, 1, scene[1].time)
    assert frame.frame_id == f'{SEGMENT}_001'
    np.testing.assert_allclose(frame.pose, scene[1].pose)
    rows = list(waymo_scene.labels(scene[1]))
    np.testing.assert_allclose(frame.labels.boxes, [row[0] for row in rows])
    assert frame.labels.types.tolist() == [1, 2, 4, 3, 1]
    assert frame.labels.levels.tolist() == [0, 2, 0, 0, 0]
    assert frame.labels.num_points.tolist() == [20, 20, 20, 20, 0]
    assert frame.labels.ids == [row[4] for row in rows]
    camera = frame.cameras[0]
    assert (camera.name, camera.size, camera.intrinsic) == (1, (1920, 1280), (2000, 2010, 960, 640))
    np.testing.assert_allclose(camera.extrinsic, waymo_scene.CAMERA)


def test_points_of_an_object_lie_in_its_box(root):
    frame = read(root, 1)[0]
    points, _ = frame_points(frame)
    x, y, z, length, width, height, heading = frame.labels.boxes[0]
    offset = points[:, :3] - (x, y, z)
    along = offset[:, 0] * np.cos(heading) + offset[:, 1] * np.sin(heading)
    across = offset[:, 1] * np.cos(heading) - offset[:, 0] * np.sin(heading)
    inside = (abs(along) < length / 2 + 0.1) & (abs(across) < width / 2 + 0.1) & (abs(offset[:, 2]) < height / 2 + 0.1)
    assert inside.sum() >= 3


def test_no_label_zones_are_in_the_vehicle_frame(root, scene):
    (zone,) = read(root, 1)[0].no_label_zones
    at_height = np.column_stack((waymo_scene.NO_LABEL_ZONE, np.full(4, scene[0].pose[2, 3])))
    np.testing.assert_allclose(zone, scene[0].to_vehicle(at_height)[:, :2])


@pytest.mark.parametrize('version', [1, 2])
def test_the_interval_and_missing_labels(root, version):
    frames = read(root, version, interval=2, labelled=False)
    assert [frame.index for frame in frames] == [0, 2]
    assert [frame.labels for frame in frames] == [None, None]


def test_both_versions_hold_the_same(root):
    for first, second in zip(read(root, 1), read(root, 2), strict=True):
        np.testing.assert_array_equal(frame_points(first)[0], frame_points(second)[0])
        np.testing.assert_array_equal(first.labels.boxes, second.labels.boxes)


def test_a_frame_without_objects_is_labelled_nevertheless(tmp_path, scene, monkeypatch):
    monkeypatch.setattr(waymo_scene, 'OBJECTS', ())
    write_records(tmp_path / 'a.tfrecord', scene[:1])
    write_tables(tmp_path / 'v2', scene[:2])
    assert len(read(tmp_path, 1)[0].labels) == 0
    table = pq.read_table(tmp_path / 'v2' / 'vehicle_pose' / f'{SEGMENT}.parquet')
    names = [f'box.{part}.{axis}' for part in ('center', 'size') for axis in 'xyz']
    names += ['box.heading', 'type', 'difficulty_level.detection', 'num_lidar_points_in_box']
    nothing = {name: pa.array([], table[name].type) for name in table.column_names[:2]}
    nothing |= {'key.laser_object_id': pa.array([], pa.string())}
    nothing |= {f'[LiDARBoxComponent].{name}': pa.array([], pa.float64()) for name in names}
    pq.write_table(pa.table(nothing), tmp_path / 'v2' / 'lidar_box' / f'{SEGMENT}.parquet')
    assert [len(frame.labels) for frame in read(tmp_path, 2)] == [0, 0]


def broken_record(scene, change):
    message = compiled(LABEL + DATASET)['Frame'].FromString(waymo_scene.record(scene[0]))
    change(message)
    return tfrecord([message.SerializeToString()])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda m: m.lasers[1].ri_return1.ClearField('range_image_pose_compressed'), 'LiDAR TOP: the poses of its pixels'),
        (lambda m: m.context.ClearField('laser_calibrations'), 'LiDAR 2 has no calibration'),
        (lambda m: m.ClearField('pose'), 'the pose of the vehicle has 0 numbers, expected the 16'),
        (lambda m: setattr(m.lasers[0].ri_return1, 'range_image_compressed', b'no zlib'), 'incorrect header check'),
        (lambda m: setattr(m.lasers[0].ri_return1, 'range_image_compressed', zlib.compress(b'\x0a\x04abcd')), 'a range image'),
        (lambda m: m.context.laser_calibrations[1].beam_inclinations.append(0.1), r'range image of \(12, 60, 4\), expected \(13'),
        (lambda m: m.context.camera_calibrations[0].ClearField('intrinsic'), 'camera 1 has 0 intrinsic parameters'),
    ],
)  # fmt: skip
def test_damaged_frames_are_user_errors(tmp_path, scene, change, message):
    (tmp_path / 'a.tfrecord').write_bytes(broken_record(scene, change))

    def convert():
        for frame in read(tmp_path, 1):
            frame_points(frame)

    with pytest.raises(UserError, match=message):
        convert()


def test_what_is_no_frame_is_a_user_error(tmp_path):
    (tmp_path / 'a.tfrecord').write_bytes(tfrecord([b'\xff\xff\xff']))
    assert masked_crc(b'') is not None
    with pytest.raises(UserError, match=r"a\.tfrecord: record 0: not a serialised Waymo message 'Frame'"):
        read(tmp_path, 1)


def test_missing_components_and_columns_are_named(tmp_path, scene):
    write_tables(tmp_path / 'v2', scene[:1])
    boxes = tmp_path / 'v2' / 'lidar_box' / f'{SEGMENT}.parquet'
    table = pq.read_table(boxes)
    pq.write_table(table.drop_columns(['[LiDARBoxComponent].type']), boxes)
    with pytest.raises(UserError, match=r"lidar_box/.*: the column '\[LiDARBoxComponent\]\.type' is missing"):
        read(tmp_path, 2)
    boxes.unlink()
    with pytest.raises(UserError, match='no such file; download the component lidar_box of this split, too'):
        read(tmp_path, 2)
    assert len(read(tmp_path, 2, labelled=False)) == 1
    (tmp_path / 'v2' / 'camera_calibration' / f'{SEGMENT}.parquet').unlink()
    assert read(tmp_path, 2, labelled=False)[0].cameras == []  # LiDAR alone is enough
    (tmp_path / 'v2' / 'lidar' / f'{SEGMENT}.parquet').write_bytes(b'PAR1 no longer')
    with pytest.raises(UserError, match='not readable as Parquet'):
        read(tmp_path, 2, labelled=False)


def test_a_frame_without_poses_of_pixels_is_refused_in_version_two(tmp_path, scene):
    write_tables(tmp_path / 'v2', scene[:2])
    path = tmp_path / 'v2' / 'lidar_pose' / f'{SEGMENT}.parquet'
    pq.write_table(pq.read_table(path).slice(0, 1), path)
    first, second = read(tmp_path, 2)
    assert len(frame_points(first)[0])
    with pytest.raises(UserError, match='the poses of its pixels are missing'):
        frame_points(second)


def test_points_of_several_returns_and_lidars_keep_their_order(root):
    frame = read(root, 1)[0]
    turned = replace(frame, lasers=frame.lasers[::-1])
    np.testing.assert_array_equal(frame_points(frame)[0], frame_points(turned)[0])
