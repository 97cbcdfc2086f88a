import pickle

import pytest
from mmdet3d.registry import DATASETS

import ssal3d.data.kitti_dataset  # noqa: F401
from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.errors import UserError

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
