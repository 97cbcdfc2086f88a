"""Waymo's AP and APH: the official figures, a literal reference on crowded scenes, and the rules one by one."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from ssal3d.errors import UserError
from ssal3d.evaluation.waymo_ap import CUTOFFS, RANGES, average_precision, evaluate_waymo
from ssal3d.evaluation.waymo_matching import assign
from ssal3d.evaluation.waymo_objects import TYPES, WaymoObjects, read_objects
from ssal3d.ops.boxes import iou_3d

# What the official tool prints for the two files of the fixture, as its source file
# src/waymo_open_dataset/metrics/tools/compute_detection_metrics_main.cc has it: AP and APH of LEVEL_1, of LEVEL_2.
OFFICIAL = {
    'PEDESTRIAN': (0.129258, 0.0984962, 0.125136, 0.0953438),
    'SIGN': (0.0926278, 0.0635938, 0.067927, 0.0466355),
    'VEHICLE 0-30m': (0.154727, 0.129927, 0.154727, 0.129927),
    'VEHICLE 50m+': (0.218596, 0.155501, 0.212188, 0.150963),
    'PEDESTRIAN 0-30m': (0.19352, 0.155428, 0.19352, 0.155428),
    'PEDESTRIAN 30-50m': (0.144201, 0.103131, 0.134931, 0.0966024),
    'PEDESTRIAN 50m+': (0.0985548, 0.0779858, 0.0960544, 0.075891),
    'SIGN 0-30m': (0.106175, 0.0716929, 0.0651952, 0.0439717),
    'SIGN 30-50m': (0.15528, 0.117763, 0.13587, 0.103042),
    'SIGN 50m+': (0.075276, 0.0507518, 0.0596342, 0.040206),
}
# Here the official tool takes one pair of equal boxes with opposite headings to be apart (see the fixture's README).
OFFICIAL_WITH_SLIP = {
    'VEHICLE': (0.208277, 0.162823, 0.20542, 0.160523),
    'VEHICLE 30-50m': (0.27302, 0.230956, 0.270492, 0.228818),
}
CAR = (4.5, 2.0, 1.6)


def figures(result, key):
    name, _, label = key.partition(' ')
    levels = result[name]['range'][label] if label else result[name]
    return tuple(levels[level][measure] for level in ('L1', 'L2') for measure in ('AP', 'APH'))


@pytest.fixture(scope='module')
def official(waymo_metrics):
    numbers = {}
    truth, detections = (
        read_objects(waymo_metrics / name, numbers) for name in ('fake_ground_truths.bin', 'fake_predictions.bin')
    )
    return truth, detections


def test_the_official_figures_are_met(official, waymo_metrics):
    result = evaluate_waymo(*official, TYPES[1:])
    for key, expected in OFFICIAL.items():
        np.testing.assert_allclose(figures(result, key), expected, atol=1e-6, rtol=0, err_msg=key)
    exact = json.loads((waymo_metrics / 'expected_vehicle.json').read_text())['VEHICLE_exact_intersection']
    expected = [exact[level][measure] for level in ('LEVEL_1', 'LEVEL_2') for measure in ('AP', 'APH')]
    np.testing.assert_allclose(figures(result, 'VEHICLE'), expected, atol=1e-6, rtol=0)
    assert result['frames'] == 20
    assert figures(result, 'CYCLIST') == (None,) * 4  # no cyclist in the ground truth; the official tool prints 0
    assert result['warnings'] == ['CYCLIST: no ground truth, so it has no AP and is left out of the mean']


def test_the_documented_figures_of_vehicles_differ_by_one_pair_only(official):
    truth, detections = official
    pair = np.flatnonzero(np.isclose(detections.scores, 0.14505, atol=5e-6) & (detections.types == 1))
    for row in pair:  # make the one overlap 0 that the official polygon code takes for 0: lift the detection
        partner = truth.boxes[(truth.frames == detections.frames[row]) & (truth.types == 1)]
        turned = np.isclose(np.abs(partner[:, 6] - detections.boxes[row, 6]), np.pi)
        if (np.isclose(partner[:, :6], detections.boxes[row, :6]).all(axis=1) & turned).any():
            boxes = detections.boxes.copy()
            boxes[row, 5] = 1e-3  # thinner than what can overlap
            result = evaluate_waymo(truth, WaymoObjects(**{**vars(detections), 'boxes': boxes}), ['VEHICLE'])
            for key, expected in OFFICIAL_WITH_SLIP.items():
                np.testing.assert_allclose(figures(result, key), expected, atol=1e-6, rtol=0, err_msg=key)
            return
    pytest.fail('the pair that the README describes is not in the files')


def objects(frames, boxes, types=1, scores=1.0, levels=0, points=10, in_zone=False):
    count = len(frames)
    return WaymoObjects(
        frames=np.asarray(frames, dtype=np.int64),
        boxes=np.asarray(boxes, dtype=np.float64).reshape(count, 7),
        types=np.broadcast_to(np.int32(types), count),
        scores=np.broadcast_to(np.float32(scores), count),
        levels=np.broadcast_to(np.int32(levels), count),
        num_points=np.broadcast_to(np.int32(points), count),
        in_no_label_zone=np.broadcast_to(in_zone, count),
    )


def crowd(seed, frames=6, people=14):
    """Pedestrians who stand on each other's toes, detected several times each, so that pairs compete."""
    random = np.random.default_rng(seed)
    place = random.integers(0, frames, people * frames)
    boxes = np.column_stack(
        (random.uniform(0, 3, (len(place), 2)), random.normal(0, 0.05, len(place)), random.uniform(0.7, 1, (len(place), 2)),
         random.uniform(1.6, 1.9, len(place)), random.uniform(-4, 4, len(place)))
    )  # fmt: skip
    seen = random.integers(0, len(place), 3 * len(place))
    found = boxes[seen] + random.normal(0, 0.08, (len(seen), 7)) * (1, 1, 1, 0.3, 0.3, 0.3, 3)
    truth = objects(
        place, boxes, 2, levels=random.integers(0, 3, len(place)), points=random.integers(0, 12, len(place))
    )
    scores = random.random(len(seen)).astype(np.float32)
    return truth, objects(place[seen], found, 2, scores, in_zone=random.random(len(seen)) < 0.1)


def literal(truth, detections, threshold, level):
    """AP and APH word by word: at every cut-off, every frame is matched anew as one dense table."""
    counts = truth.num_points > 0
    levels = np.where(truth.levels > 0, truth.levels, np.where(truth.num_points <= 5, 2, 1))
    curve = []
    for cutoff in CUTOFFS:
        hits = wrong = missed = 0
        heading = 0.0
        for frame in set(truth.frames.tolist()) | set(detections.frames.tolist()):
            g = np.flatnonzero((truth.frames == frame) & counts)
            d = np.flatnonzero((detections.frames == frame) & (detections.scores >= cutoff))
            iou = iou_3d(truth.boxes[g], detections.boxes[d])
            weights = np.where(iou >= threshold, np.round(iou * 1e6), 0)
            rows, columns = linear_sum_assignment(-weights)
            matched = [(g[r], d[c]) for r, c in zip(rows, columns, strict=True) if weights[r, c] > 0]
            hits += len(matched)
            for a, b in matched:
                error = math.remainder(truth.boxes[a, 6] - detections.boxes[b, 6], 2 * math.pi)
                heading += 1 - abs(error) / math.pi
            wrong += len([b for b in d if b not in {y for _, y in matched} and not detections.in_no_label_zone[b]])
            missed += len([a for a in g if a not in {x for x, _ in matched} and levels[a] <= level])
        recall = hits / (hits + missed) if hits + missed else 0
        precision = (hits / (hits + wrong), heading / (hits + wrong)) if hits + wrong else (0, 0)
        curve.append((recall, *(precision if recall else (1, 1))))
    recalls, *both = np.array(curve).T
    return [area(precisions, recalls) for precisions in both]


def area(precisions, recalls):
    """The area in the order of the text: best at each recall, monotone, gaps filled from above, trapezoids."""
    best = {0.0: 1.0}
    for precision, recall in zip(precisions, recalls, strict=True):
        best[recall] = max(best.get(recall, 0), precision)
    points = []
    for recall in sorted(best, reverse=True):
        while points and points[-1][0] - recall > 0.05 + 1e-6:
            points.append((points[-1][0] - 0.05, points[-1][1]))
        points.append((recall, max(best[recall], points[-1][1] if points else 0)))
    points[-1] = (0.0, points[-2][1])
    return sum((a[0] - b[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))


@pytest.mark.parametrize('seed', range(4))
def test_crowds_agree_with_the_literal_rules(seed):
    truth, detections = crowd(seed)
    result = evaluate_waymo(truth, detections, ['PEDESTRIAN'])['PEDESTRIAN']
    for level in (1, 2):
        expected = literal(truth, detections, 0.5, level)
        np.testing.assert_allclose([result[f'L{level}'][key] for key in ('AP', 'APH')], expected, atol=1e-9)
    assert 0.05 < result['L2']['APH'] < result['L2']['AP'] < 0.95


@pytest.mark.parametrize('shape', [(1, 1), (1, 6), (6, 1), (5, 5), (3, 9), (9, 4)])
def test_the_assignment_is_the_best_there_is(shape):
    random = np.random.default_rng(sum(shape))
    for _ in range(60):
        weights = random.integers(500_000, 1_000_000, shape) * (random.random(shape) < 0.5)
        rows, columns = linear_sum_assignment(-weights)
        columns_of = assign(weights)
        used = columns_of[columns_of >= 0]
        assert len(set(used.tolist())) == len(used)
        assert (weights[columns_of >= 0, used] > 0).all()
        assert weights[columns_of >= 0, used].sum() == weights[rows, columns].sum()


def cars(count, frames=None, x=10.0, **options):
    boxes = [(x, 5.0 * k, 1.0, *CAR, 0.3) for k in range(count)]
    return objects(np.zeros(count, int) if frames is None else frames, boxes, **options)


def vehicle(truth, detections):
    return evaluate_waymo(truth, detections, ['VEHICLE'])['VEHICLE']


def test_perfect_detections_score_one():
    for scores in (1.0, 0.5, 0.005, 0.0):
        result = vehicle(cars(4), cars(4, scores=scores))
        assert {v for level in ('L1', 'L2') for v in result[level].values()} == {1.0}, scores


def test_no_detection_scores_zero():
    assert vehicle(cars(4), cars(0))['L2'] == {'AP': 0, 'APH': 0}


@pytest.mark.parametrize(('turn', 'share'), [(np.pi, 0), (-np.pi / 2, 0.5), (2 * np.pi, 1), (-6.5 * np.pi, 0.5)])
def test_headings_count_for_aph_only(turn, share):
    square = np.array([[10, 5 * k, 1, 4, 4, 1.6, 0.3] for k in range(3)])  # turned by 90 degrees, it is the same box
    result = vehicle(objects([0] * 3, square), objects([0] * 3, square + np.eye(7)[6] * turn))
    assert result['L1']['AP'] == pytest.approx(1)
    assert result['L1']['APH'] == pytest.approx(share)


def test_a_found_hard_object_is_no_error_at_level_one():
    truth = cars(4, points=np.array([10, 10, 2, 2]))
    both = vehicle(truth, cars(4))
    assert both['L1'] == both['L2'] == {'AP': 1, 'APH': 1}
    missing = vehicle(truth, cars(2))
    assert missing['L1']['AP'] == 1
    assert missing['L2']['AP'] == pytest.approx(0.5)


def test_objects_without_a_point_do_not_count():
    assert vehicle(cars(4, points=np.array([10, 10, 0, 0])), cars(2))['L2']['AP'] == 1


def test_detections_in_a_no_label_zone_are_no_errors():
    truth, found = cars(2), cars(4, scores=np.array([0.5, 0.5, 0.9, 0.9]))
    assert vehicle(truth, found)['L2']['AP'] < 0.8
    in_zone = np.array([False, False, True, True])
    assert vehicle(truth, WaymoObjects(**{**vars(found), 'in_no_label_zone': in_zone}))['L2']['AP'] == 1


def test_frames_and_types_are_matched_apart():
    assert vehicle(cars(2, frames=[0, 1]), cars(2, frames=[1, 0]))['L2']['AP'] < 0.1
    result = evaluate_waymo(cars(2), cars(2, types=[1, 4]), ['VEHICLE'])
    assert result['VEHICLE']['L2']['AP'] == pytest.approx(0.5)


def test_ranges_are_those_of_the_centres():
    truth = objects([0, 0, 0], [(x, 0, 1, *CAR, 0) for x in (29.0, 49.0, 60.0)])
    found = objects([0, 0, 0], [(x, 0, 1, *CAR, 0) for x in (29.0, 49.0, 63.0)])
    by_range = vehicle(truth, found)['range']
    assert [by_range[label]['L2']['AP'] for label in RANGES] == [1, 1, 0]
    across = vehicle(objects([0], [(29.97, 0, 0, *CAR, 0)]), objects([0], [(30.03, 0, 0, *CAR, 0)]))
    assert across['L2']['AP'] == 1  # overlaps, but in two ranges
    assert across['range']['0-30m']['L2']['AP'] == 0


def test_the_better_sum_of_overlaps_wins_not_the_better_score():
    # The confident detection overlaps both cars, the other one the first car only: both are matched.
    truth = objects([0, 0], [(10, 0, 1, 4.5, 2, 1.6, 0), (10.7, 0, 1, 4.5, 2, 1.6, 0)])
    found = objects([0, 0], [(10.2, 0, 1, 4.5, 2, 1.6, 0), (9.6, 0, 1, 4.5, 2, 1.6, 0)], scores=np.array([0.9, 0.4]))
    assert vehicle(truth, found)['L2']['AP'] == pytest.approx(1)


def test_duplicates_are_errors():
    # At cut-offs up to 0.4: 1 hit of 2; from 0.41 to 0.9: 1 of 1. The best precision at recall 1 counts.
    truth = cars(1)
    duplicate = objects([0, 0], np.repeat(truth.boxes, 2, axis=0), scores=np.array([0.4, 0.9]))
    assert vehicle(truth, duplicate)['L2']['AP'] == 1
    beside = objects([0, 0], np.concatenate((truth.boxes, truth.boxes + np.eye(7)[1] * 50)), scores=[0.4, 0.9])
    assert vehicle(truth, beside)['L2']['AP'] == pytest.approx(0.5)


def test_wide_gaps_of_recall_are_filled_from_above():
    # (1, 0.2) and (0.5, 0.8): filled with 0.2 down to 0.55, then a trapezoid to (0.5, 0.8), then 0.8 down to 0.
    expected = 0.45 * 0.2 + 0.05 * (0.2 + 0.8) / 2 + 0.45 * 0.8 + 0.05 * 0.8
    assert average_precision(np.array([0.8, 0.2]), np.array([0.5, 1.0])) == pytest.approx(expected)
    assert average_precision(np.array([0.2, 0.8, 0.7]), np.array([1.0, 0.5, 0.5])) == pytest.approx(expected)
    assert average_precision(np.array([0.5, 0.4]), np.array([0.3, 0.34])) == pytest.approx(0.04 * 0.45 + 0.3 * 0.5)
    assert average_precision(np.array([1.0]), np.array([0.0])) == 0


def test_the_order_of_boxes_and_the_numbers_of_frames_do_not_matter():
    truth, detections = crowd(5)
    random = np.random.default_rng(0)
    renumbered = random.permutation(6) * 7
    shuffled = []
    for columns in (truth, detections):
        rows = random.permutation(len(columns))
        shuffled.append(WaymoObjects(**{**vars(columns[rows]), 'frames': renumbered[columns.frames[rows]]}))
    a, b = (figures(evaluate_waymo(*both, ['PEDESTRIAN']), 'PEDESTRIAN') for both in ((truth, detections), shuffled))
    np.testing.assert_allclose(a, b, atol=1e-12)


def test_the_mean_is_over_the_classes_with_ground_truth_without_signs():
    truth = objects([0, 0], [(10, 0, 1, *CAR, 0), (20, 0, 1, *CAR, 0)], types=[1, 3])
    result = evaluate_waymo(truth, objects([0], [(10, 0, 1, *CAR, 0)]), ['VEHICLE', 'SIGN', 'CYCLIST'])
    assert result['mean']['L1'] == {'AP': 1, 'APH': 1}
    assert result['SIGN']['L1'] == {'AP': 0, 'APH': 0}
    assert result['settings']['ground_truths'] == {
        'VEHICLE': {'L1': 1, 'L2': 1}, 'SIGN': {'L1': 1, 'L2': 1}, 'CYCLIST': {'L1': 0, 'L2': 0},
    }  # fmt: skip


def test_files_that_do_not_belong_together_are_refused():
    with pytest.raises(UserError, match='none of the 1 frames with detections is among the 1 frames with ground truth'):
        evaluate_waymo(cars(2), cars(2, frames=[5, 5]))
    with pytest.raises(UserError, match='the ground truth holds no object'):
        evaluate_waymo(cars(0), cars(2))
    result = evaluate_waymo(cars(2), cars(3, frames=[0, 0, 1]))
    assert result['warnings'][0].startswith('1 of 2 frames with detections have no ground truth')


def test_options_are_checked():
    with pytest.raises(UserError, match=r"unknown class 'VEHICEL'.*did you mean 'VEHICLE'"):
        evaluate_waymo(cars(1), cars(1), ['VEHICEL'])
    with pytest.raises(UserError, match=r'IoU threshold of VEHICLE: found 0\.0'):
        evaluate_waymo(cars(1), cars(1), ['VEHICLE'], {'VEHICLE': 0})
    loose = evaluate_waymo(cars(1), cars(1, x=11.0), ['VEHICLE'], {'VEHICLE': 0.4})
    assert loose['VEHICLE']['L1']['AP'] == 1
    assert loose['settings']['iou_thresholds'] == {'VEHICLE': 0.4}
