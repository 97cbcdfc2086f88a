import pickle

import numpy as np
import pytest
from mmdet3d.registry import DATASETS

import ssal3d.data.kitti_dataset  # noqa: F401
from ssal3d.data.boxes import to_gravity_array
from ssal3d.data.infos import read_infos
from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.errors import UserError
from ssal3d.evaluation.kitti_results import annotated_objects, camera_view, detected_objects

pytestmark = pytest.mark.usefixtures('mmdet3d_scope')


def build(root, ann_file='kitti_infos_train.pkl', **options):
    return DATASETS.build(
        dict(
            type='KittiFrameDataset',
            data_root=str(root),
            ann_file=ann_file,
            data_prefix=dict(pts='training/velodyne_reduced'),
            metainfo=dict(classes=['Car']),
            **options,
        )
    )


def test_it_is_the_stock_dataset_with_frame_ids(kitti_folder):
    convert_kitti(kitti_folder.root, workers=1)
    ours, stock = build(kitti_folder.root), build(kitti_folder.root)
    options = dict(data_prefix=dict(pts='training/velodyne_reduced'), metainfo=dict(classes=['Car']))
    stock = DATASETS.build(
        dict(type='KittiDataset', data_root=str(kitti_folder.root), ann_file='kitti_infos_train.pkl', **options)
    )
    assert ours.frame_ids == ['000000', '000001', '000002', '000003']
    for index in range(len(stock)):
        found = ours.get_data_info(index)
        assert found.pop('frame_id') == ours.frame_ids[index]
        assert repr(found) == repr(stock.get_data_info(index))
    assert build(kitti_folder.root, indices=2).frame_ids == ['000000', '000001']


def test_the_camera_may_look_along_another_axis_of_the_lidar(kitti_folder):
    """The same street in the frame of a LiDAR whose y axis points forward: boxes turn with the points."""
    convert_kitti(kitti_folder.root, workers=1)
    before = to_gravity_array(build(kitti_folder.root).get_data_info(0)['ann_info']['gt_bboxes_3d'])
    for frame in range(6):
        path = kitti_folder.path('velodyne', f'{frame:06d}')
        points = np.fromfile(path, np.float32).reshape(-1, 4)
        points[:, :2] = np.column_stack((-points[:, 1], points[:, 0]))
        points.tofile(path)
        path = kitti_folder.path('calib', f'{frame:06d}')
        path.write_text(
            path.read_text().replace('0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27', '1 0 0 0 0 0 -1 -0.08 0 1 0 -0.27')
        )
    convert_kitti(kitti_folder.root, workers=1)
    dataset = build(kitti_folder.root)
    after = to_gravity_array(dataset.get_data_info(0)['ann_info']['gt_bboxes_3d'])
    expected = np.column_stack((-before[:, 1], before[:, 0], before[:, 2:6]))
    np.testing.assert_allclose(after[:, :6], expected, atol=1e-5)
    np.testing.assert_allclose(np.cos(after[:, 6] - before[:, 6] - np.pi / 2), 1, atol=1e-6)
    info = read_infos(kitti_folder.root / 'kitti_infos_train.pkl')['data_list'][0]
    truth = annotated_objects(info, {2: 'Car', 0: 'Pedestrian'}, camera_view(info))
    found = detected_objects(after, np.ones(len(after)), ['Car'], camera_view(info))
    np.testing.assert_allclose(found.rotation_y, truth.rotation_y[:1], atol=1e-5)
    np.testing.assert_allclose(found.location, truth.location[:1], atol=1e-4)


def test_unlabelled_frames_are_legal_in_test_mode_only(kitti_folder):
    convert_kitti(kitti_folder.root, workers=1)
    frames = build(kitti_folder.root, 'kitti_infos_unlabelled.pkl', test_mode=True)
    assert frames.get_data_info(0)['eval_ann_info'] is None
    with pytest.raises(UserError, match='frame 000004 has no labels and cannot be trained on'):
        build(kitti_folder.root, 'kitti_infos_unlabelled.pkl')


def test_mistakes_are_named(kitti_folder, tmp_path):
    with pytest.raises(UserError, match='not converted'):
        build(kitti_folder.root)
    convert_kitti(kitti_folder.root, workers=1)
    (kitti_folder.root / 'training' / 'velodyne_reduced' / '000001.bin').write_bytes(b'')
    with pytest.raises(UserError, match=r'000001\.bin: found an empty file'):
        build(kitti_folder.root)
    (kitti_folder.root / 'bad.pkl').write_bytes(pickle.dumps([1]))
    with pytest.raises(UserError, match=r'bad\.pkl: found a bare list'):
        build(kitti_folder.root, 'bad.pkl')
