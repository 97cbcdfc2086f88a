"""The Waymo metric for configs: predictions of a model against an annotation file."""

import numpy as np
import pytest
import torch

from ssal3d.data.boxes import to_lidar_boxes
from ssal3d.data.infos import write_infos
from ssal3d.errors import UserError
from ssal3d.evaluation.waymo_ap import evaluate_waymo
from ssal3d.evaluation.waymo_metric import WaymoAPMetric, flat_scalars
from ssal3d.evaluation.waymo_objects import read_objects

CLASSES = ('Car', 'Pedestrian', 'Cyclist')
SIZES = {'Car': (4.5, 2.0, 1.6), 'Pedestrian': (0.9, 0.8, 1.8), 'Cyclist': (1.8, 0.8, 1.7)}
FRAMES = 4
POINTS = (0, 3, 40, 40)  # of every fourth object


def scene(index):
    """Gravity-centred boxes around the vehicle and their class names."""
    names = [name for name in CLASSES for _ in range(4)]
    angle = np.arange(len(names)) / len(names) * 2 * np.pi
    place = np.stack((40 * np.cos(angle), 40 * np.sin(angle), np.full(len(names), 0.8)), axis=1)
    return np.column_stack((place, [SIZES[name] for name in names], angle + index)), names


def info(index, categories):
    boxes, names = scene(index)
    bottom = boxes - np.eye(7)[2] * boxes[:, 5:6] / 2
    instances = [
        {
            'bbox_3d': row.tolist(),
            'bbox_label_3d': categories[name],
            'num_lidar_pts': POINTS[k % 4],
            'detection_difficulty': 2 if k % 4 == 3 else 0,
        }
        for k, (row, name) in enumerate(zip(bottom, names, strict=True))
    ]
    lidar = {'lidar_path': f'{index:07d}.bin', 'num_pts_feats': 6}
    return {'lidar_points': lidar, 'instances': instances, 'context_name': 'segment', 'timestamp': 1000 + index}


def sample(index, shift=0.0, turn=0.0):
    """What a detector finds: every object with a LiDAR point."""
    boxes, names = scene(index)
    seen = [k for k in range(len(names)) if POINTS[k % 4]]
    boxes = (boxes + np.eye(7)[0] * shift + np.eye(7)[6] * turn)[seen]
    names = [names[k] for k in seen]
    return {
        'lidar_path': f'data/waymo/training/velodyne/{index:07d}.bin',
        'pred_instances_3d': {
            'bboxes_3d': to_lidar_boxes(boxes),
            'scores_3d': torch.full((len(boxes),), 0.7),
            'labels_3d': torch.tensor([CLASSES.index(name) for name in names]),
        },
    }


def write(path, categories, metainfo):
    write_infos(path, {'metainfo': metainfo, 'data_list': [info(index, categories) for index in range(FRAMES)]})
    return str(path)


@pytest.fixture
def ann_file(tmp_path):
    categories = {'Pedestrian': 0, 'Cyclist': 1, 'Car': 2, 'Sign': 3}  # another order than that of the classes
    return write(tmp_path / 'waymo_infos_val.pkl', categories, {'categories': categories})


def evaluate(ann_file, samples, **options):
    metric = WaymoAPMetric(ann_file, **options)
    metric.dataset_meta = {'classes': CLASSES}
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_ground_truth_scores_one_whatever_the_order_of_the_labels(ann_file):
    scalars = evaluate(ann_file, [sample(index) for index in range(FRAMES)])
    assert scalars['waymo/VEHICLE_L1_AP'] == scalars['waymo/mean_L2_AP'] == 1
    np.testing.assert_allclose(list(scalars.values()), 1, atol=1e-6)  # headings pass through float32
    assert {'waymo/CYCLIST_30-50m_L2_APH', 'waymo/PEDESTRIAN_L1_APH', 'waymo/mean_30-50m_L1_AP'} <= set(scalars)
    assert (
        len(scalars) == (3 + 1) * 2 * 2 * 2
    )  # types and mean; everywhere and in the one range with objects; levels; AP, APH


def test_boxes_are_gravity_centred_on_both_sides(ann_file):
    lifted = [sample(index) for index in range(FRAMES)]
    for one in lifted:
        one['pred_instances_3d']['bboxes_3d'].tensor[:, 2] += 0.8
    assert evaluate(ann_file, lifted)['waymo/VEHICLE_L2_AP'] < 0.1


def test_headings_count_for_aph(ann_file):
    scalars = evaluate(ann_file, [sample(index, turn=np.pi) for index in range(FRAMES)])
    assert scalars['waymo/VEHICLE_L1_AP'] == 1
    assert scalars['waymo/VEHICLE_L1_APH'] == pytest.approx(0, abs=1e-6)


def test_points_and_annotators_decide_the_level(ann_file):
    samples = [sample(index) for index in range(FRAMES)]
    for one in samples:  # leave the objects of level 1 only: the second of three of each class
        rows = torch.arange(1, len(one['pred_instances_3d']['scores_3d']), 3)
        one['pred_instances_3d'] = {key: value[rows] for key, value in one['pred_instances_3d'].items()}
    scalars = evaluate(ann_file, samples)
    assert scalars['waymo/VEHICLE_L1_AP'] == 1
    assert scalars['waymo/VEHICLE_L2_AP'] == pytest.approx(1 / 3)


def test_detections_in_a_no_label_zone_are_no_errors(tmp_path):
    categories = {'Car': 0, 'Pedestrian': 1, 'Cyclist': 2}
    infos = [info(index, categories) for index in range(FRAMES)]
    samples = [sample(index) for index in range(FRAMES)]
    for one in samples:  # one car more, 10 m away, where nothing is labelled
        instances = one['pred_instances_3d']
        extra = to_lidar_boxes(np.array([[10.0, 0, 1, 4, 2, 1.5, 0]]))
        instances['bboxes_3d'] = instances['bboxes_3d'].cat([instances['bboxes_3d'], extra])
        instances['scores_3d'] = torch.cat((instances['scores_3d'], torch.tensor([0.9])))
        instances['labels_3d'] = torch.cat((instances['labels_3d'], torch.tensor([0])))
    scores = []
    for zones in ([], [[[11, -1], [20, -1], [20, 5]]]):
        for one in infos:
            one['no_label_zones'] = zones
        write_infos(tmp_path / 'infos.pkl', {'metainfo': {'categories': categories}, 'data_list': infos})
        scores.append(evaluate(str(tmp_path / 'infos.pkl'), samples)['waymo/VEHICLE_L2_AP'])
    assert scores == [pytest.approx(0.75), 1]


def test_annotation_files_of_the_stock_converter_are_read(tmp_path):
    categories = {'Car': 0, 'Pedestrian': 1, 'Cyclist': 2}
    path = write(tmp_path / 'waymo_infos_val.pkl', categories, {'dataset': 'waymo', 'info_version': 'mmdet3d_v1.4'})
    scalars = evaluate(path, [sample(index) for index in range(FRAMES)], classes=['Car'], prefix='val')
    assert scalars['val/VEHICLE_L2_AP'] == scalars['val/mean_L2_AP'] == 1
    assert not any('PEDESTRIAN' in key for key in scalars)


def test_the_result_file_scores_the_same(ann_file, tmp_path):
    samples = [sample(index, shift=0.15, turn=0.2) for index in range(FRAMES)]
    scalars = evaluate(ann_file, samples, result_file=str(tmp_path / 'out' / 'detections.bin'))
    numbers = {('segment', 0, 1000 + index): index for index in range(FRAMES)}
    detections = read_objects(tmp_path / 'out' / 'detections.bin', numbers)
    assert len(numbers) == FRAMES
    perfect = evaluate(ann_file, [sample(index) for index in range(FRAMES)], result_file=str(tmp_path / 'truth.bin'))
    truth = read_objects(tmp_path / 'truth.bin', numbers)
    truth.num_points[:] = 40
    again = flat_scalars(evaluate_waymo(truth, detections))
    assert again['VEHICLE_L1_APH'] == pytest.approx(scalars['waymo/VEHICLE_L1_APH'], abs=1e-6)
    assert scalars['waymo/VEHICLE_L1_APH'] < perfect['waymo/VEHICLE_L1_APH'] - 0.05


def test_mistakes_are_found_at_the_start_or_named(ann_file):
    with pytest.raises(UserError, match=r"unknown class 'Cra'.*did you mean 'Car'"):
        WaymoAPMetric(ann_file, classes=['Cra'])
    with pytest.raises(UserError, match="unknown class 'Bus'"):
        WaymoAPMetric(ann_file, iou_thresholds={'Bus': 0.5})
    with pytest.raises(UserError, match=r'waymo_infos_val\.pkl: no frame 0000777'):
        evaluate(ann_file, [{**sample(0), 'lidar_path': 'x/0000777.bin'}])
