"""The metric without images for configs: own classes, checked before training, written and logged."""

import json

import numpy as np
import pytest
import torch
from mmdet3d.registry import METRICS

import ssal3d.evaluation.lidar_metric  # noqa: F401
from ssal3d.data.boxes import to_lidar_boxes
from ssal3d.data.infos import write_infos
from ssal3d.errors import UserError
from ssal3d.evaluation import frame_metric

CATEGORIES = {'car': 0, 'truck': 1, 'forklift': 2}


def scene(index):
    random = np.random.default_rng(index)
    places = np.column_stack((np.arange(4) * 12 + 5, random.uniform(-3, 3, 4), np.zeros(4)))
    return np.column_stack((places, np.tile((4, 2, 1.5), (4, 1)), random.uniform(-3, 3, 4))), np.array([0, 1, 2, 0])


def info(index, labelled=True):
    boxes, labels = scene(index)
    entry = {'lidar_points': {'lidar_path': f'{index}.bin'}, 'sequence': f's{index // 2}'}
    rows = [
        {'bbox_3d': box, 'bbox_label_3d': int(label), 'num_lidar_pts': 30}
        for box, label in zip(boxes.tolist(), labels, strict=True)
    ]
    return entry | ({'instances': rows} if labelled else {})


def sample(index, classes, moved=0.0):
    boxes, labels = scene(index)
    names = [list(CATEGORIES)[label] for label in labels]
    keep = [name in classes for name in names]
    shifted = boxes + np.array([moved, 0, 0, 0, 0, 0, 0])
    return {
        'lidar_path': f'x/{index}.bin',
        'pred_instances_3d': {
            'bboxes_3d': to_lidar_boxes(shifted[keep]),
            'scores_3d': torch.linspace(0.9, 0.5, sum(keep)),
            'labels_3d': torch.tensor([classes.index(name) for name in names if name in classes]),
        },
    }


@pytest.fixture
def ann_file(tmp_path):
    infos = {'metainfo': {'categories': CATEGORIES}, 'data_list': [info(index) for index in range(24)]}
    write_infos(tmp_path / 'val.pkl', infos)
    return str(tmp_path / 'val.pkl')


def ready(ann_file, classes=tuple(CATEGORIES), **options):
    metric = METRICS.build(dict(type='LidarAPMetric', ann_file=ann_file, **{'resamples': 50, **options}))
    metric.dataset_meta = {'classes': classes}
    return metric


def evaluate(metric, classes=tuple(CATEGORIES), moved=0.0):
    for start in range(0, 24, 3):
        metric.process({}, [sample(index, classes, moved) for index in range(start, start + 3)])
    return metric.evaluate(24)


def test_perfect_detections_score_100(ann_file, tmp_path):
    scalars = evaluate(ready(ann_file, result_file=str(tmp_path / 'm.json')))
    keys = {'lidar/car_centre', 'lidar/forklift_3d', 'lidar/mean_centre', 'lidar/mean_3d', 'lidar/car_centre_0-30m'}
    assert keys <= set(scalars)
    assert all(value == pytest.approx(100) for value in scalars.values())
    written = json.loads((tmp_path / 'm.json').read_text())
    assert written['car']['centre_interval'] == pytest.approx([100, 100])
    assert written['settings']['groups'] == 12, 'twelve recordings are drawn, not 24 frames'


def test_a_shift_costs_by_overlap_before_it_costs_by_distance(ann_file):
    scalars = evaluate(ready(ann_file), moved=1.5)
    assert scalars['lidar/car_3d'] < 50
    assert scalars['lidar/car_centre_2'] == pytest.approx(100)
    assert scalars['lidar/car_centre_1'] == 0


def test_fewer_classes_in_another_order(ann_file):
    classes = ('forklift', 'car')
    scalars = evaluate(ready(ann_file, classes), classes)
    assert {key.split('_')[0] for key in scalars} == {'lidar/forklift', 'lidar/car', 'lidar/mean'}
    assert scalars['lidar/forklift_centre'] == pytest.approx(100)


def test_labels_are_looked_at_before_training(ann_file, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(frame_metric, 'tell', lambda text, *_, **__: logged.append(text))
    ready(ann_file).check_frames(None)
    assert logged == []
    with pytest.raises(UserError, match=r"unknown class 'lorry'.*did you mean 'truck'"):
        ready(ann_file, ('car', 'lorry')).check_frames(None)
    infos = {'metainfo': {'categories': CATEGORIES}, 'data_list': [info(0), info(1, labelled=False)]}
    write_infos(tmp_path / 'part.pkl', infos)
    with pytest.raises(UserError, match='1 of 2 frames to evaluate have no labels'):
        ready(str(tmp_path / 'part.pkl')).check_frames(None)
    flat = info(0)
    flat['instances'][1]['bbox_3d'][4] = 0.0
    flat['instances'] = flat['instances'][:2]
    write_infos(tmp_path / 'flat.pkl', {'metainfo': {'categories': CATEGORIES}, 'data_list': [flat]})
    with pytest.raises(UserError, match=r'flat\.pkl, frame 0: a label has a size that is not positive'):
        ready(str(tmp_path / 'flat.pkl')).check_frames(None)
    flat['instances'][1]['bbox_3d'][4] = 2.0
    write_infos(tmp_path / 'few.pkl', {'metainfo': {'categories': CATEGORIES}, 'data_list': [flat]})
    ready(str(tmp_path / 'few.pkl')).check_frames(None)
    assert any('no object of class forklift' in line for line in logged)


def test_points_in_detections_give_bands_of_points(ann_file, tmp_path):
    boxes, _ = scene(0)
    points = np.concatenate([box[:3] + np.random.default_rng(0).uniform(-0.4, 0.4, (40, 3)) for box in boxes])
    np.column_stack((points, np.zeros(len(points)))).astype(np.float32).tofile(tmp_path / '0.bin')
    metric = ready(ann_file)
    metric.process({}, [sample(0, tuple(CATEGORIES)) | {'lidar_path': str(tmp_path / '0.bin'), 'num_pts_feats': 4}])
    assert metric.results[0]['points'].tolist() == [40, 40, 40, 40]
    scalars = metric.evaluate(1)
    assert scalars['lidar/car_centre_21-100points'] == pytest.approx(100)
