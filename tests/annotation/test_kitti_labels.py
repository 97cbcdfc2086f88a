from dataclasses import replace

import numpy as np
import pytest

from ssal3d.annotation import Cuboid, build_format
from ssal3d.annotation.formats.kitti import label_text
from ssal3d.annotation.rotations import wrapped
from ssal3d.data.kitti_format import camera_boxes_to_lidar, read_calibration
from ssal3d.data.kitti_objects import read_objects
from ssal3d.errors import UserError


@pytest.fixture
def folder(batch):
    return batch.write('kitti')[0] / 'training'


def test_the_worked_example(folder):
    words = (folder / 'label_2' / 'vector.txt').read_text().split()
    assert words[:3] == ['Car', '-1', '-1']
    assert float(words[3]) == pytest.approx(2.0608, abs=1e-4)
    assert [float(word) for word in words[4:8]] == [-1, -1, -1, -1]  # no camera, no image box
    assert words[8:11] == ['1.500000', '1.700000', '4.100000']
    assert [float(word) for word in words[11:]] == pytest.approx([-2.5678, 1.9845, 10.1234, 1.812389, 0.912], abs=1e-5)
    assert (folder / 'label_2' / 'empty.frame.txt').read_text() == ''
    assert (folder.parent / 'ImageSets' / 'round_1.txt').read_text().split()[0] == 'vector'


def test_blanks_in_class_names_become_underscores_and_come_back(batch, folder):
    assert (folder / 'label_2' / 'bench.txt').read_text().startswith('park_bench ')
    labels = batch.read(folder.parent)
    frame = next(frame for frame in labels.frames if frame.frame_id == 'bench')
    assert [cuboid.class_name for cuboid in frame.cuboids] == ['park bench']
    with pytest.raises(UserError, match="are both 'park_bench'"):
        batch.write('kitti', classes=('park bench', 'park_bench'), prelabels={}, out='clash')


def test_our_kitti_reader_sees_the_same_boxes(batch):
    folder = batch.write('kitti', cameras=True, out='camera')[0] / 'training'
    for name, prelabels in batch.prelabels.items():
        objects = read_objects(folder / 'label_2' / f'{name}.txt')
        calibration = read_calibration(folder / 'calib' / f'{name}.txt')
        boxes = np.array([cuboid.box for cuboid in prelabels]).reshape(-1, 7)
        assert np.allclose(camera_boxes_to_lidar(objects, calibration), boxes, atol=1e-5)


def test_image_boxes_hold_the_projected_corners(batch):
    """The corners are projected one by one, without the code that the exporter uses."""
    from ssal3d.ops.box_geometry import corners_3d

    frame = replace(
        batch.frames[0],
        cameras=(batch.camera,),
        cuboids=(
            Cuboid('Car', (20.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.4)),  # in the picture
            Cuboid('Car', (-20.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.4)),  # behind the camera
            Cuboid('Car', (12.0, 9.5, -1.0, 4.0, 1.7, 1.5, 0.4)),  # cut by the border
        ),
    )
    rows = [list(map(float, line.split()[4:8])) for line in label_text(frame).splitlines()]
    corners = corners_3d(frame.boxes)[0]
    scaled = batch.camera.projection @ batch.camera.lidar_to_camera @ np.column_stack((corners, np.ones(8))).T
    pixels = (scaled[:2] / scaled[2]).T
    assert np.allclose(rows[0], (*pixels.min(0), *pixels.max(0)), atol=1.0)  # the camera frame's small tilt
    assert rows[1] == [-1, -1, -1, -1]
    assert rows[2][0] == 0
    assert rows[2][2] > 0


@pytest.mark.parametrize('yaw', [0.6, np.pi / 2, np.pi, -2.0])
def test_cameras_that_look_aside_see_boxes_where_they_are(batch, yaw):
    """Side cameras, and LiDARs whose y axis points forward: other readers of KITTI know the camera only."""
    from ssal3d.ops.box_geometry import corners_3d

    matrix = np.eye(4)
    matrix[:3, :3] = [[np.sin(yaw), -np.cos(yaw), 0], [0, 0, -1], [np.cos(yaw), np.sin(yaw), 0]]
    camera = replace(batch.camera, lidar_to_camera=matrix)
    heading = wrapped(yaw + 0.3)
    box = (20 * np.cos(yaw), 20 * np.sin(yaw), -1.0, 4.0, 1.7, 1.5, heading)
    frame = replace(batch.frames[0], cameras=(camera,), cuboids=(Cuboid('Car', box, '1'),))
    row = [float(word) for word in label_text(frame).split()[1:]]
    x, _, z = matrix[:3, :3] @ (np.cos(heading), np.sin(heading), 0)
    assert row[13] == pytest.approx(-np.arctan2(z, x), abs=1e-5)
    corners = corners_3d(frame.boxes)[0]
    scaled = camera.projection @ matrix @ np.column_stack((corners, np.ones(8))).T
    pixels = (scaled[:2] / scaled[2]).T
    assert row[3:7] == pytest.approx([*pixels.min(0), *pixels.max(0)], abs=1e-3)
    folder, _ = batch.write('kitti', frames=[frame], prelabels={'vector': frame.cuboids}, out='aside')
    (read,) = build_format('kitti').read(folder).frames
    assert read.cuboids[0].box == pytest.approx(box, abs=1e-5)


def test_dontcare_is_no_box_and_lines_are_named(batch, folder):
    path = folder / 'label_2' / 'vector.txt'
    car = path.read_text().rsplit(' ', 1)[0]  # a label has no score
    path.write_text('DontCare -1 -1 -10 0 0 9 9 -1 -1 -1 -1000 -1000 -1000 -10\n\n' + car + '\nBike' + car[3:])
    labels = batch.read(folder.parent)
    assert [problem.text.split(':')[0] for problem in labels.problems] == [f'{path}, line 4']
    assert "box 'Bike'" in labels.problems[0].text
    path.write_text(car + '\n' + car[:-9] + ' two\n')
    assert f"{path}, line 2: found 'two' as field 15" in batch.read(folder.parent).problems[0].text


def test_labels_may_come_back_without_their_calibration(batch, folder, tmp_path):
    alone = tmp_path / 'back'
    alone.mkdir()
    for path in (folder / 'label_2').glob('*.txt'):
        (alone / path.name).write_text(path.read_text())
    problems = build_format('kitti').read(alone).problems
    assert len(problems) == 7
    assert 'there is no calibration' in problems[0].text
    assert not build_format('kitti', {'calib': str(folder / 'calib')}).read(alone).problems
    assert batch.read(folder.parent, alone).cost['accepted'] == 206
