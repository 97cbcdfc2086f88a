"""Annotated boxes in the LiDAR frame from KITTI labels and from annotation files."""

import numpy as np
import pytest

from ssal3d.data.infos import write_infos
from ssal3d.errors import UserError
from ssal3d.evaluation.annotated_boxes import read_annotated_boxes

# The camera stands at the LiDAR's origin and looks along its x axis.
CALIBRATION = """P0: 700 0 600 0 0 700 180 0 0 0 1 0
P1: 700 0 600 0 0 700 180 0 0 0 1 0
P2: 700 0 600 0 0 700 180 0 0 0 1 0
P3: 700 0 600 0 0 700 180 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0
Tr_imu_to_velo: 1 0 0 0 0 1 0 0 0 0 1 0
"""
CAR, WALKER = np.array([20.0, -3, -0.75, 4, 1.6, 1.5, 0.4]), np.array([8.0, 2, -0.6, 0.8, 0.6, 1.8, -1.2])
LIDAR_TO_CAMERA = [[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]


def in_camera(box):
    """Bottom centre in the camera frame, length, height, width, rotation_y."""
    x, y, z, length, width, height, yaw = box
    return [-y, -(z - height / 2), x, length, height, width, -yaw - np.pi / 2]


def label(name, box):
    x, y, z, length, height, width, turn = in_camera(box)
    return f'{name} 0 0 0 100 100 200 200 {height} {width} {length} {x} {y} {z} {turn}\n'


@pytest.fixture
def kitti(tmp_path):
    for folder in ('label_2', 'calib'):
        (tmp_path / folder).mkdir()
    dontcare = 'DontCare -1 -1 -10 100 170 140 200 -1 -1 -1 -1000 -1000 -1000 -10\n'
    texts = {
        '000001': label('Car', CAR) + dontcare,
        '000002': '',
        '000003': label('Pedestrian', WALKER) + label('Van', CAR),
    }
    for frame, text in texts.items():
        (tmp_path / 'label_2' / f'{frame}.txt').write_text(text)
        (tmp_path / 'calib' / f'{frame}.txt').write_text(CALIBRATION)
    return tmp_path / 'label_2'


def instance(box, name, categories, points=9):
    return {'bbox_3d': [float(value) for value in box], 'bbox_label_3d': categories[name], 'num_lidar_pts': points}


def write(path, metainfo, frames):
    write_infos(path, {'metainfo': metainfo, 'data_list': frames})
    return path


def test_kitti_labels_come_out_in_the_lidar_frame(kitti):
    truth = read_annotated_boxes(kitti, ['000003', '000002', '000001'], ('Pedestrian', 'Car'))
    np.testing.assert_allclose(truth.boxes, [WALKER, CAR, CAR], atol=1e-4)
    assert truth.labels.tolist() == [0, -1, 1]  # the van is no class of the detector
    assert truth.offsets.tolist() == [0, 2, 2, 3]
    assert truth.dontcare == 1
    assert truth.empty is None


def test_annotation_files_of_every_kind_give_the_same_boxes(tmp_path, kitti):
    categories = {'Car': 2, 'Pedestrian': 0, 'Van': 3, 'DontCare': -1}
    images = {'images': {'CAM2': {'lidar2cam': LIDAR_TO_CAMERA}}}
    lowered = [box - np.eye(7)[2] * box[5] / 2 for box in (CAR, WALKER)]
    kinds = {
        'kitti': ({'dataset': 'kitti', 'categories': categories}, (in_camera(CAR), in_camera(WALKER)), images),
        'waymo': ({'dataset': 'waymo', 'categories': categories}, lowered, {}),
        'lidar': ({'dataset': 'own', 'categories': categories}, (CAR, WALKER), {}),
        'calibrated': ({'dataset': 'own', 'categories': categories}, (CAR, WALKER), images),
    }
    for name, (metainfo, boxes, extra) in kinds.items():
        rows = [instance(boxes[0], 'Car', categories), instance(boxes[1], 'Pedestrian', categories)]
        rows.append(instance([-1000] * 7, 'DontCare', categories, -1))
        rows = [row | ({'bbox': [100.0, 100, 200, 200]} if name == 'kitti' else {}) for row in rows]
        frame = {'lidar_points': {'lidar_path': 'a/000001.bin'}, 'instances': rows, **extra}
        truth = read_annotated_boxes(
            write(tmp_path / f'{name}.pkl', metainfo, [frame]), ['000001'], ('Car', 'Pedestrian')
        )
        np.testing.assert_allclose(truth.boxes, [CAR, WALKER], atol=1e-6, err_msg=name)
        assert truth.labels.tolist() == [0, 1]
        assert (truth.empty, truth.dontcare) == (0, 1)


def test_objects_without_a_point_are_left_out_and_counted(tmp_path):
    categories = {'Car': 0}
    rows = [instance(CAR, 'Car', categories, points) for points in (0, 3, 0)]
    frame = {'lidar_points': {'lidar_path': '1.bin'}, 'instances': rows}
    truth = read_annotated_boxes(write(tmp_path / 'a.pkl', {'categories': categories}, [frame]), ['1'], ('Car',))
    assert len(truth.boxes) == 1
    assert truth.empty == 2
    assert truth.offsets.tolist() == [0, 1]


def test_stock_waymo_files_need_no_categories_and_vehicles_are_cars(tmp_path):
    frame = {'lidar_points': {'lidar_path': '1.bin'}, 'instances': [instance(CAR, 'x', {'x': 0})]}
    path = write(tmp_path / 'a.pkl', {'dataset': 'waymo'}, [frame])
    assert read_annotated_boxes(path, ['1'], ('Pedestrian', 'Vehicle')).labels.tolist() == [1]


def test_stock_waymo_files_count_cars_pedestrians_and_cyclists_from_0(tmp_path):
    classes = ['Cyclist', 'Car', 'Pedestrian']
    numbers = {'Car': 0, 'Pedestrian': 1, 'Cyclist': 2}
    rows = [instance(CAR, name, numbers) for name in numbers]
    frame = {'lidar_points': {'lidar_path': 'a.bin'}, 'instances': rows}
    path = write(tmp_path / 'a.pkl', {'dataset': 'waymo'}, [frame])
    assert read_annotated_boxes(path, ['a'], classes).labels.tolist() == [1, 2, 0]


def test_what_is_missing_is_named(tmp_path, kitti):
    with pytest.raises(UserError, match=r'label_2/000009\.txt: no such file'):
        read_annotated_boxes(kitti, ['000009'], ('Car',))
    (tmp_path / 'labels' / 'only').mkdir(parents=True)
    with pytest.raises(UserError, match=r'labels/calib: no such folder'):
        read_annotated_boxes(tmp_path / 'labels' / 'only', ['000009'], ('Car',))
    frame = {'lidar_points': {'lidar_path': '1.bin'}}
    path = write(tmp_path / 'a.pkl', {'categories': {'Car': 0}}, [frame])
    with pytest.raises(UserError, match=r'a\.pkl: frame 1: nobody labelled it'):
        read_annotated_boxes(path, ['1'], ('Car',))
    with pytest.raises(UserError, match=r'a\.pkl: frame 2: no such frame'):
        read_annotated_boxes(path, ['2'], ('Car',))
    with pytest.raises(UserError, match=r'no metainfo\.categories'):
        read_annotated_boxes(write(tmp_path / 'b.pkl', {}, [frame]), ['1'], ('Car',))
