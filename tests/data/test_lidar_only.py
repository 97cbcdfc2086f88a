"""The KITTI layout without a camera: no calibration, no image boxes."""

import numpy as np
import pytest
from mmdet3d.registry import DATASETS

import ssal3d.data.kitti_dataset
import ssal3d.data.views  # noqa: F401
from ssal3d.data.boxes import to_gravity_array
from ssal3d.data.infos import read_infos
from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from tests.helpers.kitti_street import label, line, write_street

CLASSES = ['Pedestrian', 'Cyclist', 'Car']
PIPELINE = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
]


def centre(name, box):
    x, y, z, length, width, height, yaw = box
    return line(name, (height, width, length), (x, y, z), yaw, (0, 0, 0, 0))


def bottom(name, box):
    x, y, z, length, width, height, yaw = box
    return line(name, (height, width, length), (x, y, z - height / 2), yaw, (0, 0, 0, 0))


def without_offset(name, box):
    """KITTI's camera axes, but the camera stands where the LiDAR is."""
    return label(name, box + np.array([0.27, 0, -0.08, 0, 0, 0, 0]))


def convert(root, write_label, **options):
    truth = write_street(root, write_label=write_label, behind=True)
    for path in (root / 'training' / 'calib').iterdir():
        path.unlink()
    return truth, convert_kitti(root, workers=1, **options)


def dataset(root, **options):
    return dict(
        type='KittiFrameDataset',
        data_root=str(root),
        ann_file='kitti_infos_train.pkl',
        data_prefix=dict(pts='training/velodyne_reduced'),
        pipeline=PIPELINE,
        metainfo=dict(classes=CLASSES),
        serialize_data=False,
        **options,
    )


@pytest.mark.parametrize(
    ('write_label', 'options'),
    [(centre, {}), (bottom, dict(label_frame='lidar-bottom')), (without_offset, dict(label_frame='camera'))],
)
@pytest.mark.usefixtures('mmdet3d_scope')
def test_labels_around_the_car_become_training_boxes(tmp_path, write_label, options):
    truth, (summary,) = convert(tmp_path, write_label, **options)
    assert summary.kept == summary.points, 'whole scans'
    assert [row[2:] for row in summary.table] == [(0, None)] * 3, 'all boxes hold points, and there is no image'
    state = LabelState.empty(CLASSES, 'pool', list(truth)).buy(
        0, [(frame, {'Car': 2, 'Pedestrian': 1, 'Cyclist': 1}) for frame in list(truth)[:3]]
    )
    view = DATASETS.build(dict(type='LabelledView', dataset=dataset(tmp_path), labels=state))
    for index, frame in enumerate(view.frame_ids):
        names, boxes = truth[frame]
        found = view[index]['data_samples'].gt_instances_3d
        np.testing.assert_allclose(to_gravity_array(found.bboxes_3d)[:, :6], boxes[:, :6], atol=2e-3)
        turned = to_gravity_array(found.bboxes_3d)[:, 6] - boxes[:, 6]
        np.testing.assert_allclose(np.cos(turned), 1, atol=1e-5)
        assert [CLASSES[number] for number in found.labels_3d] == list(names)
    rest = DATASETS.build(
        dict(type='UnlabelledView', dataset=dataset(tmp_path) | {'pipeline': PIPELINE[:1]}, labels=state)
    )
    assert len(rest) == 5
    assert 'points' in rest[0]


@pytest.mark.usefixtures('mmdet3d_scope')
def test_a_frame_without_objects_and_other_classes(tmp_path):
    truth, _ = convert(tmp_path, centre)
    (tmp_path / 'training' / 'label_2' / '000000.txt').write_text('')
    dont_care = 'DontCare -1 -1 -10 1 1 2 2 -1 -1 -1 -1000 -1000 -1000 -10\n'
    with (tmp_path / 'training' / 'label_2' / '000001.txt').open('a') as file:
        file.write(dont_care + centre('Van', truth['000001'][1][0]))
    convert_kitti(tmp_path, workers=1)
    frames = read_infos(tmp_path / 'kitti_infos_train.pkl')['data_list']
    assert frames[0]['instances'] == []
    assert [entry['bbox_label_3d'] for entry in frames[1]['instances']] == [2, 2, 0, 1, 3], 'DontCare needs an image'
    built = DATASETS.build(dataset(tmp_path, filter_empty_gt=False))
    assert len(built[0]['data_samples'].gt_instances_3d) == 0
    assert len(built[1]['data_samples'].gt_instances_3d) == 4


@pytest.mark.parametrize(
    ('write_label', 'options', 'cause'),
    [
        (bottom, {}, 'the centre of the bottom taken for that of the box'),
        (without_offset, {}, r'labels in the camera frame \(see --label-frame\)'),
        (centre, dict(label_frame='lidar-bottom'), 'the centre of the box taken for'),
    ],
)
def test_the_wrong_label_frame_is_noticed(tmp_path, write_label, options, cause):
    with pytest.raises(UserError, match=cause):
        convert(tmp_path, write_label, **options)


def test_lidar_labels_with_a_right_calibration(tmp_path):
    truth = write_street(tmp_path, write_label=centre)
    convert_kitti(tmp_path, workers=1, label_frame='lidar')
    first = read_infos(tmp_path / 'kitti_infos_train.pkl')['data_list'][0]
    write_street(tmp_path / 'camera')
    convert_kitti(tmp_path / 'camera', workers=1)
    expected = read_infos(tmp_path / 'camera' / 'kitti_infos_train.pkl')['data_list'][0]
    for one, other in zip(first['instances'], expected['instances'], strict=True):
        np.testing.assert_allclose(one['bbox_3d'], other['bbox_3d'], atol=2e-3)
        assert one['difficulty'] == other['difficulty'] == 0, 'no image box: no object is too small'
    assert len(truth) == 8


def test_an_unknown_label_frame_is_named(tmp_path):
    write_street(tmp_path)
    with pytest.raises(UserError, match=r"unknown label frame 'velodyne'"):
        convert_kitti(tmp_path, label_frame='velodyne')
