import json
from dataclasses import replace
from math import cos, pi, sin

import numpy as np
import pytest

from ssal3d.annotation import build_format
from ssal3d.errors import UserError


def pose(yaw, pitch=0.0, place=(0.0, 0.0, 0.0)):
    turn = np.array([[cos(yaw), -sin(yaw), 0], [sin(yaw), cos(yaw), 0], [0, 0, 1]])
    lean = np.array([[cos(pitch), 0, sin(pitch)], [0, 1, 0], [-sin(pitch), 0, cos(pitch)]])
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = turn @ lean, place
    return result


@pytest.fixture
def moving(batch):
    """A car that drives far from the origin of the map and up a hill."""
    return [
        replace(frame, pose=pose(0.7 * index, 0.05, (41000.0 + index, -7300.5, 12.0)), time_ns=10**18 + index * 10**8)
        for index, frame in enumerate(batch.frames)
    ]


def tables(folder, place='v1.0-round_1'):
    return {path.stem: json.loads(path.read_text()) for path in (folder / place).glob('*.json')}


def test_the_worked_example_at_the_origin(batch):
    folder, notes = batch.write('nuscenes')
    found = tables(folder)
    first = found['sample_annotation'][0]
    assert first['size'] == [1.7, 4.1, 1.5]
    assert first['translation'] == [10.1234, 2.5678, -1.2345]
    assert first['rotation'] == pytest.approx([0.1205028, 0, 0, 0.9927130], abs=1e-7)
    assert first['num_lidar_pts'] == 8
    assert set(found) == {
        'attribute', 'calibrated_sensor', 'category', 'ego_pose', 'instance', 'log', 'map', 'sample',
        'sample_annotation', 'sample_data', 'scene', 'sensor', 'visibility',
    }  # fmt: skip
    tokens = [row['token'] for rows in found.values() for row in rows]
    assert len(tokens) == len(set(tokens))
    assert {len(token) for token in tokens} == {32}
    scan = np.fromfile(folder / 'samples' / 'LIDAR_TOP' / 'vector.pcd.bin', '<f4').reshape(-1, 5)
    assert np.array_equal(scan[:, :4], np.fromfile(batch.frames[0].scan, '<f4').reshape(-1, 4))
    assert (scan[:, 4] == -1).all()
    assert '7 frames have no pose' in notes[0]


def test_boxes_of_a_moving_car_stand_in_the_world_and_come_back(batch, moving):
    folder, notes = batch.write('nuscenes', frames=moving)
    assert notes == []
    found = tables(folder)
    last = found['sample_annotation'][-1]
    expected = moving[-1].pose @ (*batch.prelabels['crowd'][-1].box[:3], 1)
    assert last['translation'] == pytest.approx(expected[:3].tolist())
    raw = {frame.frame_id: frame for frame in build_format('nuscenes').read(folder).frames}
    for name, prelabels in batch.prelabels.items():
        boxes = np.array([cuboid.box for cuboid in raw[name].cuboids]).reshape(-1, 7)
        wanted = np.array([cuboid.box for cuboid in prelabels]).reshape(-1, 7)
        assert np.abs(boxes[:, :6] - wanted[:, :6]).max(initial=0) < 1e-6
        turns = (boxes[:, 6] - wanted[:, 6] + pi) % (2 * pi) - pi
        assert np.abs(turns).max(initial=0) < 1e-6
        assert all(cuboid.tilt == 0 for cuboid in raw[name].cuboids)
    assert batch.read(folder).cost['accepted'] == 206


def edit(folder, table, change, place='v1.0-round_1'):
    path = folder / place / f'{table}.json'
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows, indent=1))


def test_edits_in_the_world_are_edits_of_the_boxes(batch, moving):
    folder, _ = batch.write('nuscenes', frames=moving)
    edit(folder, 'sample_annotation', lambda rows: rows[0].update(size=[1.9, 4.1, 1.5]))
    edit(folder, 'sample_annotation', lambda rows: rows[1]['translation'].__setitem__(2, rows[1]['translation'][2] + 1))
    edit(folder, 'sample_annotation', lambda rows: rows.pop())
    labels = batch.read(folder)
    assert {name: labels.cost[name] for name in ('resized', 'moved', 'deleted')} == dict.fromkeys(
        ('resized', 'moved', 'deleted'), 1
    )
    lifted = next(frame for frame in labels.frames if frame.frame_id == 'near_pi').cuboids[0]
    assert lifted.box[2] == pytest.approx(batch.vector[2] + cos(0.05))  # up in the world, not in the leaning car


@pytest.mark.parametrize(
    ('table', 'change', 'message'),
    [
        ('sample_annotation', lambda rows: rows[0].update(size=[1, 2]), 'found 2 numbers in size, expected 3'),
        ('sample_annotation', lambda rows: rows[0].update(rotation=[2, 0, 0, 0]), 'expected norm 1'),
        ('sample_annotation', lambda rows: rows[0].update(instance_token='x'), "instance_token 'x' is not in instance"),
        ('sample_data', lambda rows: rows[0].update(ego_pose_token='y'), "ego_pose_token 'y' is not in ego_pose.json"),
        ('category', lambda rows: rows[0].pop('name'), "'name' is missing"),
        ('sensor', lambda rows: rows.clear(), 'is not in sensor.json'),
    ],
)
def test_mistakes_name_table_and_line(batch, table, change, message):
    folder, _ = batch.write('nuscenes')
    edit(folder, table, change)
    text = batch.read(folder).problems[0].text
    assert message in text
    assert f'{table}.json, line ' in text or 'v1.0-round_1/sample_data.json, line ' in text or table == 'sensor'


def test_a_mistake_in_one_frame_keeps_no_other_of_the_tables_out(batch):
    folder, _ = batch.write('nuscenes')
    edit(folder, 'sample_annotation', lambda rows: rows[0].update(size=[1, 2]))
    reading = build_format('nuscenes').read(folder)
    assert [problem.frame_id for problem in reading.problems] == ['vector']
    assert [frame.frame_id for frame in reading.frames] == list(batch.prelabels)[1:]


def test_missing_tables_are_named(batch):
    folder, _ = batch.write('nuscenes')
    (folder / 'v1.0-round_1' / 'instance.json').unlink()
    assert 'instance.json: no such file' in batch.read(folder).problems[0].text


def test_t4_has_its_folders_and_comes_back(batch, moving):
    folder, _ = batch.write('nuscenes', frames=moving, options={'flavour': 't4'})
    found = tables(folder, 'annotation')
    assert (folder / 'data' / 'LIDAR_CONCAT' / 'vector.pcd.bin').exists()
    assert found['sensor'][0]['channel'] == 'LIDAR_CONCAT'
    assert found['instance'][0]['instance_name'] == '1'
    assert (folder / 'status.json').exists()
    assert batch.read(folder).cost['accepted'] == 206
    with pytest.raises(UserError, match="unknown flavour 't5'"):
        build_format('nuscenes', {'flavour': 't5'})


def test_the_nuscenes_devkit_sees_the_same_boxes(batch, moving, foreign, tmp_path):
    """The devkit's own chain from the world to the LiDAR, its sizes and its projection into the picture."""
    image = tmp_path / 'a.png'
    image.write_bytes(b'png')
    frames = [replace(frame, cameras=(replace(batch.camera, image=image),)) for frame in moving]
    folder, _ = batch.write('nuscenes', frames=frames)
    script = """
import json, sys
import numpy as np
from nuscenes.nuscenes import NuScenes
nusc = NuScenes(version='v1.0-round_1', dataroot=sys.argv[1], verbose=False)
frames, camera = {}, None
for sample in nusc.sample:
    token = sample['data']['LIDAR_TOP']
    path, boxes, _ = nusc.get_sample_data(token)
    name = path.rsplit('/', 1)[1].removesuffix('.pcd.bin')
    frames[name] = [[b.name, *map(float, b.center), float(b.wlh[1]), float(b.wlh[0]), float(b.wlh[2]),
                     b.orientation.yaw_pitch_roll[0]] for b in boxes]
    if camera is None:
        _, seen, intrinsic = nusc.get_sample_data(sample['data']['CAM2'], box_vis_level=0)
        everything = nusc.get_boxes(sample['data']['CAM2'])
        camera = [intrinsic.tolist(), nusc.get('calibrated_sensor',
                  nusc.get('sample_data', sample['data']['CAM2'])['calibrated_sensor_token'])]
print(json.dumps([frames, camera, len(nusc.scene), nusc.scene[0]['nbr_samples']]))
"""
    found, camera, scenes, samples = foreign('nuscenes', script, folder)
    assert (scenes, samples) == (1, 7)
    for name, prelabels in batch.prelabels.items():
        for row, cuboid in zip(found[name], prelabels, strict=True):
            assert row[0] == cuboid.class_name
            assert row[1:7] == pytest.approx(cuboid.box[:6], abs=1e-5)
            assert (row[7] - cuboid.box[6] + pi) % (2 * pi) - pi == pytest.approx(0, abs=1e-6)
    intrinsic, calibrated = camera
    assert np.allclose(intrinsic, batch.camera.pinhole[0])
    assert calibrated['translation'] == pytest.approx(np.linalg.inv(batch.camera.pinhole[1])[:3, 3].tolist())


def test_t4_devkit_sees_the_same_boxes(batch, moving, foreign):
    folder, _ = batch.write('nuscenes', frames=moving, options={'flavour': 't4'})
    script = """
import json, sys
from t4_devkit import Tier4
t4, frames = Tier4(version='annotation', data_root=sys.argv[1], verbose=False), {}
for sample in t4.sample:
    path, boxes, _ = t4.get_sample_data(sample.data['LIDAR_CONCAT'])
    name = path.rsplit('/', 1)[1].removesuffix('.pcd.bin')
    frames[name] = [[box.name, *map(float, box.center), float(box.wlh[1]), float(box.wlh[0]),
                     float(box.wlh[2]), box.orientation.yaw_pitch_roll[0]] for box in boxes]
print(json.dumps(frames))
"""
    found = foreign('t4_devkit', script, folder)
    for name, prelabels in batch.prelabels.items():
        for row, cuboid in zip(found[name], prelabels, strict=True):
            assert row[0] == cuboid.class_name
            assert row[1:7] == pytest.approx(cuboid.box[:6], abs=1e-5)
            assert (row[7] - cuboid.box[6] + pi) % (2 * pi) - pi == pytest.approx(0, abs=1e-6)
