import pytest

from ssal3d.data.counts import annotated_counts
from ssal3d.data.infos import read_infos
from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.data.kitti_objects import read_objects
from ssal3d.errors import UserError

CATEGORIES = {'Pedestrian': 0, 'Cyclist': 1, 'Car': 2, 'Van': 3, 'DontCare': -1}


def infos(**frames):
    """Frames given as lists of (label, points in the box); None for a frame that nobody labelled."""
    data_list = []
    for name, boxes in frames.items():
        info = {'lidar_points': {'lidar_path': f'{name}.bin'}}
        if boxes is not None:
            info['instances'] = [{'bbox_label_3d': label, 'num_lidar_pts': points} for label, points in boxes]
        data_list.append(info)
    return {'metainfo': {'categories': CATEGORIES}, 'data_list': data_list}


def test_only_the_classes_asked_for_count():
    content = infos(a=[(2, 5), (2, 0), (3, 9), (-1, -1), (0, 1)], b=[], c=None, d=[(3, 4)])
    assert annotated_counts(content, ['Car', 'Pedestrian', 'Cyclist']) == {
        'a': {'Car': 2, 'Pedestrian': 1, 'Cyclist': 0},
        'b': {'Car': 0, 'Pedestrian': 0, 'Cyclist': 0},
        'd': {'Car': 0, 'Pedestrian': 0, 'Cyclist': 0},
    }
    assert annotated_counts(content, ['Van']) == {'a': {'Van': 1}, 'b': {'Van': 0}, 'd': {'Van': 1}}
    assert annotated_counts(content, []) == {'a': {}, 'b': {}, 'd': {}}


def test_nonempty_boxes():
    content = infos(a=[(2, 5), (2, 0), (0, 1)])
    assert annotated_counts(content, ['Car', 'Pedestrian'], 'nonempty') == {'a': {'Car': 1, 'Pedestrian': 1}}
    assert annotated_counts(content, ['Car', 'Pedestrian'], 'all') == {'a': {'Car': 2, 'Pedestrian': 1}}


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"unknown class 'car'.*did you mean 'Car'"):
        annotated_counts(infos(a=[]), ['car'])
    with pytest.raises(UserError, match=r"unknown count_policy 'nonemtpy'.*'nonempty'"):
        annotated_counts(infos(a=[]), ['Car'], 'nonemtpy')
    with pytest.raises(UserError, match='no metainfo'):
        annotated_counts({'metainfo': {}, 'data_list': []}, ['Car'])
    bare = infos(a=[(2, 1)])
    del bare['data_list'][0]['instances'][0]['num_lidar_pts']
    assert annotated_counts(bare, ['Car'])['a'] == {'Car': 1}
    with pytest.raises(UserError, match='frame a has no num_lidar_pts'):
        annotated_counts(bare, ['Car'], 'nonempty')


def test_real_labels_are_counted_without_any_filter(mini_folder, tmp_path):
    convert_kitti(mini_folder, tmp_path / 'out', workers=1, splits=['train'])
    content = read_infos(tmp_path / 'out' / 'kitti_infos_train.pkl')
    counts = annotated_counts(content, ['Car', 'Pedestrian', 'Cyclist'])
    for frame, found in counts.items():
        names = list(read_objects(mini_folder / 'training' / 'label_2' / f'{frame}.txt').names)
        assert found == {name: names.count(name) for name in ('Car', 'Pedestrian', 'Cyclist')}
    assert len(counts) == 9
    nonempty = annotated_counts(content, ['Car'], 'nonempty')
    # The README of the data names a Car box without points in each of these frames.
    assert all(nonempty[frame]['Car'] < counts[frame]['Car'] for frame in ('000114', '000623', '900152'))
