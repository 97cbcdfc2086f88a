"""nuScenes' tables, made by the test, through the development kit: turned axes, splits, classes, poses."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip('nuscenes')
from pyquaternion import Quaternion

from ssal3d.data.folder.nuscenes import CLASSES, convert_nuscenes
from ssal3d.data.infos import read_infos
from ssal3d.errors import UserError
from tests.helpers.kitti_street import boxes_of, scan_of

CATEGORIES = {'Car': 'vehicle.car', 'Pedestrian': 'human.pedestrian.adult', 'Cyclist': 'vehicle.bicycle'}
DETECTED = {'Car': 'car', 'Pedestrian': 'pedestrian', 'Cyclist': 'bicycle'}
SCENES = ('scene-0061', 'scene-0103')  # one of mini_train, one of mini_val
TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # from x forward, y left to x right, y forward


def record(token, **values):
    return {'token': token, **values}


@pytest.fixture
def root(tmp_path):
    """Two scenes of four key frames, with a camera that nobody reads, an animal, and a boat of no class."""
    random, tables = np.random.default_rng(0), {}
    (tmp_path / 'samples' / 'LIDAR_TOP').mkdir(parents=True)
    (tmp_path / 'maps').mkdir()
    cv2.imwrite(str(tmp_path / 'maps' / 'map.png'), np.zeros((4, 4), np.uint8))
    sensor_turn, sensor_place = Quaternion(axis=[0, 0, 1], degrees=-90), np.array([0.9, 0.0, 1.8])
    tables['category'] = [record(name, name=name, description='') for name in (*CATEGORIES.values(), 'animal')]
    tables['attribute'], tables['visibility'] = [], [record('4', level='v80-100', description='')]
    tables['sensor'] = [record('lidar', channel='LIDAR_TOP', modality='lidar')]
    tables['calibrated_sensor'] = [
        record(
            'calibrated',
            sensor_token='lidar',
            translation=sensor_place.tolist(),
            rotation=list(sensor_turn),
            camera_intrinsic=[],
        )
    ]
    tables['log'] = [record('log', logfile='', vehicle='n', date_captured='', location='boston-seaport')]
    tables['map'] = [record('map', log_tokens=['log'], category='semantic_prior', filename='maps/map.png')]
    for name in ('scene', 'sample', 'sample_data', 'ego_pose', 'instance', 'sample_annotation'):
        tables[name] = []
    truth = {}
    for scene in SCENES:
        samples = [f'{scene}-{number}' for number in range(4)]
        tables['scene'].append(
            record(
                scene, name=scene, log_token='log', nbr_samples=4, description='',
                first_sample_token=samples[0], last_sample_token=samples[-1],
            )
        )  # fmt: skip
        for number, token in enumerate(samples):
            names, boxes = boxes_of(random, behind=True)
            points = scan_of(random, boxes)
            time = 1_500_000_000_000_000 + 500_000 * number + (0 if scene == SCENES[0] else 10**9)
            truth[f'{scene}__{time}'] = names, boxes
            file = f'samples/LIDAR_TOP/{token}.pcd.bin'
            in_file = np.column_stack((points[:, :3] @ TURN.T, points[:, 3] * 255, np.arange(len(points)) % 32))
            in_file.astype(np.float32).tofile(tmp_path / file)
            ego_turn, ego_place = Quaternion(axis=[0, 0, 1], angle=0.3 + number), np.array([600.0 + number, 1600, 0])
            tables['ego_pose'].append(
                record(token, timestamp=time, translation=ego_place.tolist(), rotation=list(ego_turn))
            )
            tables['sample'].append(
                record(
                    token, timestamp=time, scene_token=scene,
                    prev=samples[number - 1] if number else '', next=samples[number + 1] if number < 3 else '',
                )
            )  # fmt: skip
            tables['sample_data'].append(
                record(
                    token, sample_token=token, ego_pose_token=token, calibrated_sensor_token='calibrated', timestamp=time,
                    fileformat='pcd', is_key_frame=True, height=0, width=0, filename=file, prev='', next='',
                )
            )  # fmt: skip
            to_global = ego_turn.rotation_matrix @ sensor_turn.rotation_matrix @ TURN
            place = ego_place + ego_turn.rotation_matrix @ sensor_place
            everything = [(CATEGORIES[name], box) for name, box in zip(names, boxes, strict=True)]
            everything.append(('animal', np.array([5, 5, -1, 1, 0.5, 0.8, 0.0])))
            for index, (category, box) in enumerate(everything):
                key = f'{token}-{index}'
                tables['instance'].append(
                    record(
                        key,
                        category_token=category,
                        nbr_annotations=1,
                        first_annotation_token=key,
                        last_annotation_token=key,
                    )
                )
                turned = Quaternion(matrix=to_global) * Quaternion(axis=[0, 0, 1], angle=box[6])
                tables['sample_annotation'].append(
                    record(
                        key, sample_token=token, instance_token=key, visibility_token='4', attribute_tokens=[],
                        translation=(place + to_global @ box[:3]).tolist(), size=box[[4, 3, 5]].tolist(),
                        rotation=list(turned), prev='', next='', num_lidar_pts=5, num_radar_pts=0,
                    )
                )  # fmt: skip
    (tmp_path / 'v1.0-mini').mkdir()
    for name, rows in tables.items():
        (tmp_path / 'v1.0-mini' / f'{name}.json').write_text(json.dumps(rows))
    return tmp_path, truth


def test_boxes_scans_and_splits_in_our_axes(root):
    folder, truth = root
    summaries = convert_nuscenes(folder, folder / 'out', 'v1.0-mini', workers=1)
    assert [(s.name, s.frames, s.labelled_frames, s.faults) for s in summaries] == [
        ('train', 4, 4, ()),
        ('val', 4, 4, ()),
    ]
    for split, scene in zip(('train', 'val'), SCENES, strict=True):
        infos = read_infos(folder / 'out' / f'nuscenes_infos_{split}.pkl')
        assert list(infos['metainfo']['categories']) == list(CLASSES)
        for info in infos['data_list']:
            names, boxes = truth[info['token']]
            assert info['sequence'] == scene
            found = np.array([entry['bbox_3d'] for entry in info['instances']])
            np.testing.assert_allclose(found, boxes, atol=1e-6)
            assert [CLASSES[entry['bbox_label_3d']] for entry in info['instances']] == [
                DETECTED[name] for name in names
            ]
            assert min(entry['num_lidar_pts'] for entry in info['instances']) > 50
            points = np.fromfile(folder / 'out' / 'points' / f'{info["token"]}.bin', np.float32).reshape(-1, 5)
            assert points[:, 3].max() <= 1, 'intensities are divided by 255'
            assert set(points[:, 4]) == set(range(32)), 'the ring is kept'
        times = [info['timestamp'] for info in infos['data_list']]
        assert np.diff(times) == pytest.approx(0.5)


def test_it_agrees_with_the_development_kit(root):
    """The kit's boxes in the LiDAR frame, turned; and our pose takes them where the annotation says."""
    from nuscenes.nuscenes import NuScenes

    folder, _ = root
    convert_nuscenes(folder, folder / 'out', 'v1.0-mini', workers=1)
    kit = NuScenes('v1.0-mini', str(folder), verbose=False)
    info = read_infos(folder / 'out' / 'nuscenes_infos_train.pkl')['data_list'][2]
    _, expected, _ = kit.get_sample_data('scene-0061-2')
    assert len(info['instances']) == len(expected) - 1 == 4, 'all but the animal'
    for entry, box in zip(info['instances'], expected, strict=False):
        ours = np.array(entry['bbox_3d'])
        np.testing.assert_allclose(ours[:3] @ TURN.T, box.center, atol=1e-6)
        np.testing.assert_allclose(ours[[4, 3, 5]], box.wlh)
        ahead = box.orientation.rotation_matrix[:, 0] @ TURN
        np.testing.assert_allclose((np.cos(ours[6]), np.sin(ours[6])), ahead[:2], atol=1e-6)
        annotation = kit.get('sample_annotation', box.token)
        world = np.array(info['ego2global']) @ np.append(ours[:3], 1)
        np.testing.assert_allclose(world[:3], annotation['translation'], atol=1e-4)


def test_chosen_classes_in_their_order(root):
    folder, _ = root
    convert_nuscenes(folder, folder / 'out', 'v1.0-mini', ['pedestrian', 'car'], workers=1)
    infos = read_infos(folder / 'out' / 'nuscenes_infos_train.pkl')
    assert infos['metainfo']['categories'] == {'pedestrian': 0, 'car': 1}
    assert sorted(entry['bbox_label_3d'] for entry in infos['data_list'][0]['instances']) == [0, 1, 1]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(version='v1.0-trainval'), 'v1.0-trainval: no tables of nuScenes here; download'),
        (dict(version='mini'), "unknown version of nuScenes 'mini'"),
        (dict(version='v1.0-mini', classes=['person']), "unknown class 'person'.*did you mean 'pedestrian'"),
    ],
)
def test_what_is_wrong_is_named(root, options, message):
    with pytest.raises(UserError, match=message):
        convert_nuscenes(root[0], root[0] / 'out', **options)
