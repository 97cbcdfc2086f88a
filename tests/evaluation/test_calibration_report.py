"""Calibration by class and method, from predictions and annotated boxes to numbers and pictures."""

import numpy as np
import pytest
from matplotlib.image import imread

from ssal3d.errors import UserError
from ssal3d.evaluation.annotated_boxes import AnnotatedBoxes
from ssal3d.evaluation.calibration_figure import write_fig7, write_reliability
from ssal3d.evaluation.calibration_report import (
    MEAN,
    SUMMARY_HEADER,
    CalibrationSettings,
    evaluate_calibration,
    summary,
)
from ssal3d.predictions import PoolPredictions

CLASSES = ('Car', 'Pedestrian')
SCORES = np.array([0.95, 0.92, 0.85, 0.35, 0.33, 0.31, 0.15], dtype=np.float32)  # the worked example of D-ECE
RIGHT = np.array([1, 1, 0, 1, 0, 0, 0], dtype=bool)
ALL = CalibrationSettings(min_samples=1)


def truth_of(boxes):
    count = len(boxes)
    return AnnotatedBoxes(np.array(boxes), np.zeros(count, np.int64), np.arange(count + 1), empty=0, dontcare=0)


def example(labels=0, low=0.05):
    """Seven frames with one car and one detection each, as in the worked example, and a weak detection more."""
    cars = np.array([[10.0 + k, 2 * k, 0, 4, 2, 1.5, 0] for k in range(7)])
    found = cars + np.where(RIGHT, 0, 3)[:, None] * np.eye(7)[0]
    boxes = np.concatenate((found, cars[-1:])).astype(np.float32)
    pool = PoolPredictions(
        frame_ids=np.array([f'{k:06d}' for k in range(7)]),
        offsets=np.array([0, 1, 2, 3, 4, 5, 6, 8]),
        boxes=boxes,
        scores=np.append(SCORES, np.float32(low)),
        labels=np.full(8, labels, np.int16),
        classes=CLASSES,
    )
    return pool, truth_of(cars)


@pytest.mark.parametrize(('bins', 'expected'), [(10, 1.14 / 7), (20, 2.42 / 7)])
def test_the_worked_example_from_boxes_to_numbers(bins, expected):
    pool, truth = example()
    result = evaluate_calibration({'normal': pool}, truth, CalibrationSettings(bins=bins, min_samples=1))
    car = result['methods']['normal']['Car']
    assert car['d_ece'] == pytest.approx(expected, abs=1e-7)
    assert (car['count'], car['right']) == (7, 3)  # the weak detection is below the floor of 0.1
    assert [(entry['count'], entry['precision']) for entry in car['fig7'].values()] == [
        (1, 0), (3, pytest.approx(1 / 3)), (0, None), (3, pytest.approx(2 / 3)),
    ]  # fmt: skip
    assert list(car['fig7']) == ['0.0-0.3', '0.3-0.5', '0.5-0.8', '0.8-1.0']
    assert sum(entry['count'] for entry in car['bins']) == 7
    assert len(car['bins']) == bins


def test_the_default_needs_eight_detections_in_a_bin():
    pool, truth = example()
    assert (
        evaluate_calibration({'normal': pool}, truth)['methods']['normal']['Car']['d_ece'] is None
    )  # nothing is measured


def test_a_class_without_detections_is_undefined_and_not_averaged():
    pool, truth = example()
    result = evaluate_calibration({'normal': pool}, truth, ALL)
    by_class = result['methods']['normal']
    assert by_class['Pedestrian']['d_ece'] is by_class['Pedestrian']['d_ece_position_size'] is None
    assert by_class[MEAN]['d_ece'] == by_class[MEAN]['d_ece_weighted'] == by_class['Car']['d_ece']
    assert result['settings']['ground_truths'] == {'Car': 7, 'Pedestrian': 0}
    assert 'normal: Pedestrian has 0 detections; its D-ECE says little' in result['warnings']


def test_a_right_box_of_the_wrong_class_is_wrong():
    pool, truth = example(labels=1)
    pedestrian = evaluate_calibration({'normal': pool}, truth, ALL)['methods']['normal']['Pedestrian']
    assert pedestrian['right'] == 0
    assert pedestrian['d_ece'] == pytest.approx(SCORES.mean(), abs=1e-6)


def test_position_and_size_are_part_of_the_bins():
    # Half of the cars are right: the near ones, or the small ones; the score is one half everywhere.
    near, small = np.arange(40) < 20, np.arange(40) % 2 == 0
    boxes = np.zeros((40, 7))
    boxes[:, 0], boxes[:, 3], boxes[:, 4:6] = np.where(near, 5, 60), np.where(small, 4.0, 8), 2
    for right, measure in ((near, 'd_ece_position'), (small, 'd_ece_position_size')):
        truth = truth_of(boxes + np.where(right, 0, 50)[:, None] * np.eye(7)[1])
        pool = PoolPredictions(
            *(np.array([f'{k:03d}' for k in range(40)]), np.arange(41), boxes.astype(np.float32)),
            *(np.full(40, 0.5, np.float32), np.zeros(40, np.int16), CLASSES),
        )
        car = evaluate_calibration({'m': pool}, truth)['methods']['m']['Car']
        assert car['d_ece'] == 0
        assert car[measure] == pytest.approx(0.5)
        assert (car['d_ece_position'] > 0) == (measure == 'd_ece_position')


def test_methods_share_region_and_sizes():
    pool, truth = example()
    far = PoolPredictions(**{**vars(pool), 'boxes': pool.boxes + np.float32(100) * np.eye(7, dtype=np.float32)[0]})
    both = evaluate_calibration({'normal': pool, 'cpsp': far}, truth, ALL)
    assert list(both['methods']) == ['normal', 'cpsp']
    assert both['methods']['cpsp']['Car']['right'] == 0
    assert both['settings']['region'][2] == 119  # of the farther one
    chosen = evaluate_calibration({'normal': pool}, truth, CalibrationSettings(region=(0, -40, 70, 40)))
    assert chosen['settings']['region'] == [0, -40, 70, 40]


def test_methods_must_predict_the_same_frames_and_classes():
    pool, truth = example()
    other = PoolPredictions(**{**vars(pool), 'frame_ids': np.array([f'{k:06d}' for k in range(1, 8)])})
    with pytest.raises(UserError, match=r"cpsp and normal do not predict the same frames: 2 differ, e\.g\. '000000'"):
        evaluate_calibration({'normal': pool, 'cpsp': other}, truth)
    other = PoolPredictions(**{**vars(pool), 'classes': ('Pedestrian', 'Car')})
    with pytest.raises(UserError, match='found the classes'):
        evaluate_calibration({'normal': pool, 'cpsp': other}, truth)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'bins': 0}, 'bins: found 0, expected 1 or more'),
        ({'min_score': 1.0}, r'min_score: found 1\.0'),
        ({'region': (0, 0, 0, 1)}, 'region: found'),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        CalibrationSettings(**options)


def test_labels_that_hide_objects_are_mentioned():
    pool, truth = example()
    hidden = AnnotatedBoxes(**{**vars(truth), 'empty': None, 'dontcare': 3})
    warnings = ' '.join(evaluate_calibration({'normal': pool}, hidden)['warnings'])
    assert 'the labels hold 3 DontCare regions' in warnings
    assert 'do not tell LiDAR points' in warnings


def test_the_table_has_a_row_for_each_class_and_the_mean():
    pool, truth = example()
    rows = summary(evaluate_calibration({'normal': pool}, truth, ALL)['methods']['normal'])
    assert [row[0] for row in rows] == ['Car', 'Pedestrian', 'mean']
    assert {len(row) for row in rows} == {len(SUMMARY_HEADER)}
    assert rows[0][-4:] == ('1 (0.00)', '3 (0.33)', '0', '3 (0.67)')


def test_pictures_show_every_class_and_method(tmp_path):
    pool, truth = example()
    methods = evaluate_calibration({'normal': pool, 'cpsp': pool}, truth, ALL)['methods']
    write_reliability(tmp_path / 'a' / 'reliability.png', methods)
    write_fig7(tmp_path / 'a' / 'fig7.png', methods)
    for name in ('reliability.png', 'fig7.png'):
        picture = imread(tmp_path / 'a' / name)
        assert min(picture.shape[:2]) > 300
        assert picture[..., :3].std() > 0.05  # something is drawn
    # The red dots of the diagram lie where the data say: none without detections.
    write_reliability(tmp_path / 'b.png', {'normal': {'Pedestrian': methods['normal']['Pedestrian']}})
    red = [((p[..., 0] > 0.7) & (p[..., 1] < 0.3) & (p[..., 2] < 0.3)).sum() for p in map(imread, (tmp_path / 'a' / 'reliability.png', tmp_path / 'b.png'))]  # fmt: skip
    assert red[0] > 20
    assert red[1] == 0
