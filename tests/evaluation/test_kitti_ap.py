"""KITTI's AP: official numbers, an independent matcher, and every rule on its own."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from shapely.geometry import Polygon

from ssal3d.data.kitti_format import read_split
from ssal3d.data.kitti_objects import KittiFrames, KittiObjects, concatenate, parse_objects, read_frames
from ssal3d.errors import UserError
from ssal3d.evaluation.kitti_ap import (
    DIFFICULTIES,
    SUMMARY_HEADER,
    evaluate_kitti,
    iou_thresholds_by_metric,
    summary,
    without_image_boxes,
)
from ssal3d.evaluation.kitti_matching import METRICS, overlapping_pairs, score_thresholds, score_thresholds_of_few

CLASSES = ('Car', 'Pedestrian', 'Cyclist')
SIZES = {'Car': (1.5, 1.6, 3.9), 'Pedestrian': (1.7, 0.6, 0.8), 'Cyclist': (1.7, 0.6, 1.8)}


def values(metrics, name):
    """All AP of a class (or the mean) in a fixed order."""
    by_metric = metrics[name]
    return [by_metric[m][s][d] for m in METRICS for s in ('R40', 'R11') for d in DIFFICULTIES]


def line(name='Car', bbox=(100, 100, 200, 200), x=0.0, z=20.0, rotation=0.3, *, truncated=0, occluded=0, score=None):
    height, width, length = SIZES.get(name, SIZES['Car'])
    text = (
        f'{name} {truncated} {occluded} 0 {" ".join(map(str, bbox))} {height} {width} {length} {x} 1.7 {z} {rotation}'
    )
    return text if score is None else f'{text} {score}'


def frames(*lists_of_lines):
    return concatenate([parse_objects('\n'.join(lines), 'test') for lines in lists_of_lines])


def row_of(name, count, *, scored, **options):
    """`count` objects of a class side by side, image boxes included, so that only equal ones overlap."""
    return [
        line(name, (20 * i, 100, 20 * i + 15, 200), x=6.0 * i, score=0.5 if scored else None, **options)
        for i in range(count)
    ]


# --- official numbers -------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def official_truth(kitti_labels):
    return read_frames(kitti_labels / 'training' / 'label_2', read_split(kitti_labels / 'ImageSets' / 'val.txt'))


def test_reference_detections_score_the_official_numbers_quickly(official_truth, kitti_eval, kitti_labels):
    split = read_split(kitti_labels / 'ImageSets' / 'val.txt')
    detections = read_frames(kitti_eval / 'data', split, detections=True)
    expected = json.loads((kitti_eval / 'expected.json').read_text())
    metrics = evaluate_kitti(official_truth, detections, ['Car'])
    compared = 0
    for metric, by_sampling in expected['ap'].items():
        for sampling, by_difficulty in by_sampling.items():
            for difficulty, value in by_difficulty.items():
                assert metrics['Car'][metric][sampling][difficulty] == pytest.approx(value, abs=2e-4)
                compared += 1
    assert compared == 18
    assert metrics['frames'] == 3769
    assert metrics['settings']['ground_truths']['Car'] == expected['ground_truth_objects_counted']
    assert metrics['warnings'] == []
    start = time.process_time()
    evaluate_kitti(official_truth, detections, CLASSES)
    assert time.process_time() - start < 3


def test_official_ground_truth_against_itself_is_exactly_100(official_truth):
    scores = np.random.default_rng(0).random(len(official_truth.objects))
    itself = replace(official_truth, objects=replace(official_truth.objects, scores=scores))
    metrics = evaluate_kitti(official_truth, itself, CLASSES)
    for name in (*CLASSES, 'mean'):
        assert values(metrics, name) == [100.0] * 18


# --- an independent matcher, written from the description of the development kit --------------------------------------


def reference_ap(truth, detections, overlaps, name, threshold, metric, level):
    """AP (R40, R11) of one class by plain loops over frames; None without counted ground truth."""
    scenes = [reference_states(truth[f], detections[f], name, level) for f in range(len(truth))]
    counted = sum(state == 0 for states, _ in scenes for state in states)
    if counted == 0:
        return None, None
    found = []
    for frame, (truth_states, states) in enumerate(scenes):
        found += reference_match(truth_states, states, detections[frame], overlaps[frame], threshold, None)[0]
    positions = reference_thresholds(sorted(found, reverse=True), counted)
    precision = [0.0] * 41
    for position, lowest in enumerate(positions):
        hits = errors = 0
        for frame, (truth_states, states) in enumerate(scenes):
            objects = detections[frame]
            matched, assigned = reference_match(truth_states, states, objects, overlaps[frame], threshold, lowest)
            hits += len(matched)
            for d, state in enumerate(states):
                unexplained = state == 0 and not assigned[d] and objects.scores[d] >= lowest
                if unexplained and not (metric == '2d' and in_dont_care(truth[frame], objects.bbox[d], threshold)):
                    errors += 1
        precision[position] = hits / (hits + errors) if hits + errors else 0.0
    precision = [max(precision[position:]) for position in range(41)]
    return 100 * sum(precision[1:]) / 40, 100 * sum(precision[::4]) / 11


def reference_thresholds(ordered, counted):
    chosen = []
    recall = 0.0
    for i, score in enumerate(ordered):
        left = (i + 1) / counted
        right = (i + 2) / counted if i + 1 < len(ordered) else left
        if right - recall < recall - left and i + 1 < len(ordered):
            continue
        chosen.append(score)
        recall += 1.0 / 40.0
    return chosen


def reference_states(truth, detections, name, level):
    truth_states = []
    for i in range(len(truth)):
        kind, neighbour = truth.names[i].lower(), {'Car': 'van', 'Pedestrian': 'person_sitting'}.get(name)
        small = truth.bbox[i, 3] - truth.bbox[i, 1] <= (40, 25, 25)[level]
        hard = truth.occluded[i] > level or truth.truncated[i] > (0.15, 0.3, 0.5)[level]
        if kind == name.lower():
            truth_states.append(1 if small or hard else 0)
        else:
            truth_states.append(1 if kind == neighbour else -1)
    states = []
    for i in range(len(detections)):
        if abs(detections.bbox[i, 3] - detections.bbox[i, 1]) < (40, 25, 25)[level]:
            states.append(1)
        else:
            states.append(0 if detections.names[i].lower() == name.lower() else -1)
    return truth_states, states


def reference_match(truth_states, states, detections, overlaps, threshold, lowest):
    assigned = [False] * len(states)
    matched = []
    for g, truth_state in enumerate(truth_states):
        if truth_state == -1:
            continue
        candidates = [
            d
            for d, state in enumerate(states)
            if state != -1
            and not assigned[d]
            and overlaps[g][d] > threshold
            and (lowest is None or detections.scores[d] >= lowest)
        ]
        if not candidates:
            continue
        if lowest is None:
            chosen = max(candidates, key=lambda d: (detections.scores[d], -d))
        else:
            valid = [d for d in candidates if states[d] == 0]
            chosen = max(valid, key=lambda d: (overlaps[g][d], -d)) if valid else candidates[0]
        assigned[chosen] = True
        if truth_state == 0 and states[chosen] == 0:
            matched.append(detections.scores[chosen])
    return matched, assigned


def reference_overlaps(truth, detections, metric):
    return [[reference_iou(truth, g, detections, d, metric) for d in range(len(detections))] for g in range(len(truth))]


def reference_iou(truth, g, detections, d, metric):
    if metric == '2d':
        common = common_area(truth.bbox[g], detections.bbox[d])
        union = area(truth.bbox[g]) + area(detections.bbox[d]) - common
        return common / union if common else 0.0
    ground = [footprint(truth, g), footprint(detections, d)]
    common = ground[0].intersection(ground[1]).area
    if metric == 'bev':
        return common / (ground[0].area + ground[1].area - common)
    bottoms = truth.location[g, 1], detections.location[d, 1]
    heights = truth.dimensions[g, 0], detections.dimensions[d, 0]
    common *= max(0.0, min(bottoms) - max(bottoms[0] - heights[0], bottoms[1] - heights[1]))
    return common / (ground[0].area * heights[0] + ground[1].area * heights[1] - common)


def footprint(objects, row):
    """The four ground corners by the rotation matrix of the development kit."""
    _, width, length = objects.dimensions[row]
    cos, sin = np.cos(objects.rotation_y[row]), np.sin(objects.rotation_y[row])
    x, _, z = objects.location[row]
    corners = [(a * length / 2, b * width / 2) for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
    return Polygon([(cos * a + sin * b + x, -sin * a + cos * b + z) for a, b in corners])


def in_dont_care(truth, bbox, threshold):
    regions = [truth.bbox[i] for i in range(len(truth)) if truth.names[i] == 'DontCare']
    return any(common_area(bbox, region) / area(bbox) > threshold for region in regions)


def common_area(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def area(bbox):
    return (bbox[2] - bbox[0]) * (bbox[3] - bbox[1])


def random_scene(rng, number_of_frames, most):
    """Crowded frames with all kinds of objects; detections are disturbed copies, strays and ties."""
    truth, detections = [], []
    kinds = ('Car', 'Van', 'Pedestrian', 'Person_sitting', 'Cyclist', 'DontCare', 'Tram')
    for _ in range(number_of_frames):
        count = rng.integers(0, most)
        rows = {
            'names': rng.choice(kinds, count, p=(0.35, 0.1, 0.15, 0.05, 0.15, 0.15, 0.05)).astype(np.str_),
            'truncated': rng.choice((0.0, 0.15, 0.2, 0.4, 0.6), count, p=(0.8, 0.05, 0.05, 0.05, 0.05)),
            'occluded': rng.choice((0, 1, 2, 3), count, p=(0.75, 0.15, 0.05, 0.05)),
            'alpha': np.zeros(count),
            'bbox': random_image_boxes(rng, count),
            'dimensions': rng.uniform((1.4, 0.6, 0.8), (1.9, 1.9, 4.5), (count, 3)),
            'location': rng.uniform((-6, 1.2, 5), (6, 1.9, 17), (count, 3)),
            'rotation_y': rng.uniform(-np.pi, np.pi, count),
            'scores': np.full(count, np.nan),
        }
        objects = KittiObjects(**rows)
        truth.append(objects)
        detections.append(disturbed(rng, objects))
    return concatenate(truth), concatenate(detections)


def random_image_boxes(rng, count):
    corner = rng.uniform((0, 100), (300, 200), (count, 2))
    size = np.stack(
        (rng.uniform(20, 120, count), rng.choice((20.0, 25.0, 30.0, 40.0, 55.0), count, p=(0.1, 0.1, 0.2, 0.1, 0.5))),
        axis=1,
    )
    return np.concatenate((corner, corner + size), axis=1).round(0)


def disturbed(rng, truth):
    """Copies of most objects, some twice, with small errors and few distinct scores; the rest are strays."""
    rows = rng.permutation(np.repeat(np.arange(len(truth)), rng.choice((0, 1, 2), len(truth), p=(0.2, 0.6, 0.2))))
    copies = truth[rows]
    count = len(rows)
    names = np.where(rng.random(count) < 0.1, rng.choice(CLASSES, count), copies.names).astype(np.str_)
    noise = rng.choice((0.0, 0.1, 0.6), (count, 1))
    return replace(
        copies,
        names=np.where(np.isin(names, ('DontCare', 'Van', 'Tram')), 'Car', names).astype(np.str_),
        bbox=copies.bbox + rng.normal(0, 10, (count, 4)) * noise,
        location=copies.location + rng.normal(0, 0.6, (count, 3)) * noise * (1, 0.3, 1),
        rotation_y=copies.rotation_y + rng.normal(0, 0.3, count) * noise[:, 0] + np.pi * rng.integers(0, 2, count),
        scores=rng.integers(-1, 5, count) / 4,
    )


@pytest.mark.parametrize('seed', range(18))
def test_a_plain_matcher_agrees_on_random_scenes(seed):
    rng = np.random.default_rng(seed)
    truth, detections = random_scene(rng, number_of_frames=(3, 12, 30)[seed % 3], most=(7, 11)[seed % 2])
    metrics = evaluate_kitti(truth, detections, CLASSES)
    for metric in METRICS:
        overlaps = [reference_overlaps(truth[f], detections[f], metric) for f in range(len(truth))]
        for name in CLASSES:
            threshold = 0.7 if name == 'Car' else 0.5
            for level, difficulty in enumerate(DIFFICULTIES):
                expected = reference_ap(truth, detections, overlaps, name, threshold, metric, level)
                found = tuple(metrics[name][metric][sampling][difficulty] for sampling in ('R40', 'R11'))
                assert found == pytest.approx(expected, abs=1e-9), (name, metric, difficulty)


def test_the_random_scenes_test_something():
    truth, detections = random_scene(np.random.default_rng(2), 30, 11)
    found = [value for name in CLASSES for value in values(evaluate_kitti(truth, detections, CLASSES), name)]
    assert sum(5 < value < 95 for value in found) > 40
    assert len(set(found)) > 30


# --- overlaps ---------------------------------------------------------------------------------------------------------


def test_identical_boxes_overlap_fully():
    rng = np.random.default_rng(0)
    count = 200
    objects = KittiObjects(
        names=np.full(count, 'Car'),
        truncated=np.zeros(count),
        occluded=np.zeros(count, dtype=np.int64),
        alpha=np.zeros(count),
        bbox=random_image_boxes(rng, count),
        dimensions=rng.uniform(0.1, 12, (count, 3)),
        location=rng.uniform(-80, 80, (count, 3)),
        rotation_y=np.concatenate((rng.uniform(-7, 7, count - 4), [0, np.pi / 2, -np.pi / 2, np.pi])),
        scores=np.ones(count),
    )
    one_each = KittiFrames(objects, np.arange(count + 1))
    pairs = overlapping_pairs(one_each, one_each, np.ones(count, dtype=bool))
    assert pairs.detection.tolist() == list(range(count))
    for metric in METRICS:
        np.testing.assert_allclose(pairs.iou[metric], 1, atol=1e-9)
    np.testing.assert_allclose(pairs.covered, 1)


def test_overlaps_in_the_camera_frame_agree_with_shapely():
    rng = np.random.default_rng(1)
    truth, detections = random_scene(rng, 12, 14)
    pairs = overlapping_pairs(truth, detections, np.ones(len(truth.objects), dtype=bool))
    computed = np.zeros((len(truth.objects), len(detections.objects), len(METRICS)))
    owner = np.repeat(np.arange(len(truth.objects)), np.diff(pairs.start))
    for index, metric in enumerate(METRICS):
        computed[owner, pairs.detection, index] = pairs.iou[metric]
    overlapping = 0
    for frame in range(len(truth)):
        rows, columns = (slice(*own.offsets[frame : frame + 2]) for own in (truth, detections))
        for index, metric in enumerate(METRICS):
            expected = reference_overlaps(truth[frame], detections[frame], metric)
            block = computed[rows, columns, index]
            np.testing.assert_allclose(block, np.reshape(expected, block.shape), atol=1e-9)
            overlapping += int((block > 0).sum())
            computed[rows, columns, index] = 0
    assert overlapping > 300
    assert not computed.any(), 'objects of different frames were paired'


def test_rotation_y_turns_clockwise_seen_from_above():
    turned = frames([line(rotation=0.5)])
    mirrored = frames([line(rotation=-0.5, score=1)])
    quarter = frames([line(rotation=np.pi / 2, score=1)])
    pairs = overlapping_pairs(turned, mirrored, np.ones(1, dtype=bool))
    assert 0.3 < pairs.iou['bev'][0] < 0.7
    ahead = frames([line(rotation=0, x=3.0)])  # nose to tail along x, side by side once turned
    assert overlapping_pairs(ahead, quarter, np.ones(1, dtype=bool)).iou['bev'][0] == 0
    assert overlapping_pairs(ahead, frames([line(score=1, rotation=0)]), np.ones(1, dtype=bool)).iou['bev'][0] > 0.1


# --- the rules one by one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({}, (1, 1, 1)),
        ({'bbox': (0, 100, 50, 140)}, (0, 1, 1)),  # 40 pixels are not more than 40
        ({'bbox': (0, 100, 50, 140.5)}, (1, 1, 1)),
        ({'bbox': (0, 100, 50, 125)}, (0, 0, 0)),
        ({'bbox': (0, 100, 50, 126)}, (0, 1, 1)),
        ({'occluded': 1}, (0, 1, 1)),
        ({'occluded': 2}, (0, 0, 1)),
        ({'occluded': 3}, (0, 0, 0)),
        ({'truncated': 0.15}, (1, 1, 1)),
        ({'truncated': 0.16}, (0, 1, 1)),
        ({'truncated': 0.31}, (0, 0, 1)),
        ({'truncated': 0.51}, (0, 0, 0)),
    ],
)
def test_what_counts_at_which_difficulty(options, expected):
    metrics = evaluate_kitti(frames([line(**options)]), frames([]), ['Car'])
    assert tuple(metrics['settings']['ground_truths']['Car'].values()) == expected
    found = [metrics['Car']['3d']['R40'][key] for key in DIFFICULTIES]
    assert found == [0.0 if count else None for count in expected]


def perfect(extra_truth=(), extra_detections=()):
    """45 cars found, with extra objects in another frame; extra detections are surer than all others."""
    truth = frames(row_of('Car', 45, scored=False), extra_truth)
    detections = frames(row_of('Car', 45, scored=True), extra_detections)
    return evaluate_kitti(truth, detections, ['Car'])['Car']


def test_a_stray_detection_costs_precision():
    ap = perfect(extra_detections=[line(score=0.9)])
    assert values({'Car': ap}, 'Car') == pytest.approx([100 * 45 / 46] * 18)


@pytest.mark.parametrize('neighbour', ['Van', 'van', 'VAN'])
def test_a_van_is_no_error_for_car(neighbour):
    assert values({'Car': perfect([line(neighbour)], [line(score=0.9)])}, 'Car') == [100.0] * 18


def test_a_tram_is_an_error_for_car():
    assert perfect([line('Tram')], [line(score=0.9)])['3d']['R40']['easy'] < 100


def test_dont_care_excuses_in_the_image_only():
    region = 'DontCare -1 -1 -10 90 90 210 190 -1 -1 -1 -1000 -1000 -1000 -10'  # covers 90 % of the stray box
    ap = perfect([region], [line(score=0.9)])
    assert ap['2d']['R40']['moderate'] == 100.0
    assert ap['bev']['R40']['moderate'] == ap['3d']['R40']['moderate'] == pytest.approx(100 * 45 / 46)
    smaller = region.replace('190', '165')  # 65 % is below the threshold of 70 %
    assert perfect([smaller], [line(score=0.9)])['2d']['R40']['moderate'] < 100


def test_low_detections_are_ignored():
    low = line(bbox=(100, 100, 200, 130), score=0.9)
    ap = perfect(extra_detections=[low])
    assert ap['3d']['R40']['easy'] == 100.0
    assert ap['3d']['R40']['moderate'] < 100


def test_a_low_detection_of_any_class_can_take_a_ground_truth():
    pedestrians = [line('Pedestrian', (20 * i, 100, 20 * i + 15, 130), score=0.9) for i in range(20)]
    # The same 3D box as a car, but 30 pixels tall: ignored in easy, none of the car's business from moderate on.
    on_cars = [text.replace('1.7 0.6 0.8 0.0', f'1.5 1.6 3.9 {6.0 * i}') for i, text in enumerate(pedestrians)]
    truth = frames(row_of('Car', 45, scored=False))
    ap = evaluate_kitti(truth, frames(row_of('Car', 45, scored=True) + on_cars), ['Car'])['Car']['bev']['R40']
    assert ap['easy'] == pytest.approx(100 * 25 / 45, abs=100 / 40)
    assert ap['moderate'] == ap['hard'] == 100


def test_a_pair_matches_above_the_threshold_only():
    truth = frames([line(bbox=(0, 0, 100, 100))] * 41)
    at, above = (frames([line(bbox=(0, 0, 100, height), score=0.5)] * 41) for height in (70, 70.1))
    assert evaluate_kitti(truth, at, ['Car'])['Car']['2d']['R40']['easy'] == 0
    assert evaluate_kitti(truth, above, ['Car'])['Car']['2d']['R40']['easy'] == 100


def test_of_equal_scores_the_first_detection_is_taken():
    def ap(order):
        detections = [(15, 0, 115, 100), (-20, 0, 80, 100)]  # the first overlaps both ground truths, the second one
        lines = [line('Pedestrian', detections[i], score=0.5) for i in order]
        truth = frames(*[[line('Pedestrian', (0, 0, 100, 100)), line('Pedestrian', (30, 0, 130, 100))]] * 30)
        return evaluate_kitti(truth, frames(*[lines] * 30), ['Pedestrian'])['Pedestrian']['2d']['R40']['easy']

    assert ap((1, 0)) == pytest.approx(50)  # both ground truths are found, but by overlap they compete for one
    assert ap((0, 1)) == pytest.approx(25, abs=1.5)


def test_many_detections_on_one_ground_truth():
    truth, crowd = frames([line()]), frames([line(score=i / 100) for i in range(100)])
    pairs = overlapping_pairs(truth, crowd, np.ones(1, dtype=bool))
    assert pairs.start.tolist() == [0, 100]
    assert pairs.detection.tolist() == list(range(100))
    np.testing.assert_allclose(pairs.iou['3d'], 1)


def test_names_ignore_case():
    truth = frames(row_of('car', 45, scored=False))
    assert values(evaluate_kitti(truth, frames(row_of('CAR', 45, scored=True)), ['Car']), 'Car') == [100.0] * 18


def test_thresholds_by_class_and_metric():
    shifted = [line(x=6.0 * i + 0.9, bbox=(20 * i, 100, 20 * i + 15, 200), score=0.5) for i in range(45)]
    truth, detections = frames(row_of('Car', 45, scored=False)), frames(shifted)
    strict = evaluate_kitti(truth, detections, ['Car'])['Car']
    assert (strict['2d']['R40']['easy'], strict['bev']['R40']['easy'], strict['3d']['R40']['easy']) == (100, 0, 0)
    loose_bev = evaluate_kitti(truth, detections, ['Car'], {'Car': {'bev': 0.4}})
    assert loose_bev['Car']['bev']['R40']['easy'] == 100
    assert loose_bev['Car']['3d']['R40']['easy'] == 0
    assert loose_bev['settings']['iou_thresholds'] == {'Car': {'2d': 0.7, 'bev': 0.4, '3d': 0.7}}
    assert evaluate_kitti(truth, detections, ['Car'], {'Car': 0.4})['Car']['3d']['R40']['easy'] == 100


def test_other_classes_need_a_threshold():
    truth, detections = (frames(row_of('Truck', 41, scored=scored)) for scored in (False, True))
    assert values(evaluate_kitti(truth, detections, ['Truck'], {'Truck': 0.6}), 'Truck') == [100.0] * 18
    with pytest.raises(UserError, match=r"unknown class 'Truck\'.*needs an IoU threshold"):
        evaluate_kitti(truth, detections, ['Truck'])
    with pytest.raises(UserError, match=r'Truck (2d|bev|3d): found nan'):
        evaluate_kitti(truth, detections, ['Truck'], {'Truck': {'2d': 0.6}})


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'car': 0.5}, "unknown class 'car'.*did you mean 'Car'"),
        ({'Car': {'bve': 0.5}}, "unknown metric of class Car 'bve'.*did you mean 'bev'"),
        ({'Car': 1.0}, r'Car 2d: found 1.0, expected a number in \[0, 1\)'),
        ({'Car': -0.1}, 'found -0.1'),
        ({'Car': {'3d': float('nan')}}, 'Car 3d: found nan'),
    ],
)
def test_wrong_thresholds_are_user_errors(changes, message):
    with pytest.raises(UserError, match=message):
        iou_thresholds_by_metric(['Car'], changes)


def test_a_class_without_ground_truth_has_no_ap_and_is_left_out_of_the_mean():
    truth = frames(row_of('Car', 45, scored=False), [line('Cyclist', occluded=2)] * 45)
    metrics = evaluate_kitti(truth, frames(row_of('Car', 45, scored=True), []), CLASSES)
    assert values(metrics, 'Pedestrian') == [None] * 18
    assert metrics['Cyclist']['3d']['R40'] == {'easy': None, 'moderate': None, 'hard': 0.0}
    assert metrics['mean']['3d']['R40'] == {'easy': 100.0, 'moderate': 100.0, 'hard': 50.0}
    assert any(text.startswith('Pedestrian:') for text in metrics['warnings'])
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


@pytest.mark.parametrize('count', [1, 9, 40])
def test_few_ground_truths_limit_the_official_ap_and_this_is_said(count):
    truth, detections = frames(row_of('Car', count, scored=False)), frames(row_of('Car', count, scored=True))
    official = evaluate_kitti(truth, detections, ['Car'])
    limit = 100 * (count - 1) / 40
    assert official['Car']['3d']['R40']['easy'] == pytest.approx(limit)
    assert f'at most {limit:.1f} in R40' in official['warnings'][0]
    lifted = evaluate_kitti(truth, detections, ['Car'], small_sets=True)
    assert values(lifted, 'Car') == [100.0] * 18
    assert lifted['warnings'] == []


def test_small_sets_reads_the_precision_at_the_recall():
    truth = frames(row_of('Car', 10, scored=False))
    half = frames([line(bbox=(0, 0, 9, 99), x=-50, score=0.9), *row_of('Car', 5, scored=True)])
    ap = evaluate_kitti(truth, half, ['Car'], small_sets=True)['Car']['3d']['R40']['easy']
    assert ap == pytest.approx(100 * 5 / 6 * 20 / 40)  # precision 5/6 up to recall 1/2


def test_small_sets_changes_nothing_from_41_on():
    truth, detections = random_scene(np.random.default_rng(5), 100, 14)
    official, lifted = (evaluate_kitti(truth, detections, ['Car'], small_sets=flag) for flag in (False, True))
    assert official['settings']['ground_truths']['Car']['easy'] > 40
    assert values(official, 'Car') == values(lifted, 'Car')


def test_score_thresholds_come_from_the_nearest_recall():
    descending = np.linspace(1, 0.01, 100)
    assert score_thresholds(descending[:1], 100) == [1.0]
    assert score_thresholds(np.zeros(0), 100) == []
    full = score_thresholds(descending, 100)
    assert len(full) == 41
    assert (full[0], full[-1]) == (1.0, descending[-1])
    for truths in (1, 2, 40, 41, 59, 60, 61, 87, 123, 400, 1001):
        for hits in {1, truths // 3, truths // 2, truths - 1, truths} - {0}:
            scores = np.linspace(1, 0, hits)
            assert score_thresholds(scores, truths) == reference_thresholds(scores.tolist(), truths)
    assert score_thresholds_of_few(np.array([0.9, 0.5]), 2) == [0.9] * 21 + [0.5] * 20


def test_flat_image_boxes_are_refused_instead_of_scoring_zero():
    flat = (0, 0, 0, 0)
    truth = frames([line(bbox=flat, x=6.0 * i) for i in range(45)])
    detections = frames([line(bbox=flat, x=6.0 * i, score=0.5) for i in range(45)])
    with pytest.raises(UserError, match=r'ground truth.*: 45 of 45 image boxes have no height.*--no-image'):
        evaluate_kitti(truth, detections, ['Car'])
    with pytest.raises(UserError, match='detections: 45 of 45 image boxes have no height'):
        evaluate_kitti(frames(row_of('Car', 45, scored=False)), detections, ['Car'])
    metrics = evaluate_kitti(without_image_boxes(truth), without_image_boxes(detections), ['Car'])
    assert metrics['Car']['2d']['R40'] == dict.fromkeys(DIFFICULTIES)
    assert metrics['Car']['bev']['R40'] == metrics['Car']['3d']['R40'] == dict.fromkeys(DIFFICULTIES, 100.0)


def test_empty_input():
    metrics = evaluate_kitti(frames(), frames(), CLASSES)
    assert metrics['frames'] == 0
    assert values(metrics, 'mean') == [None] * 18
    nothing_found = evaluate_kitti(frames(row_of('Car', 3, scored=False), []), frames([], []), ['Car'])
    assert values(nothing_found, 'Car') == [0.0] * 18


def test_frames_must_correspond():
    with pytest.raises(UserError, match='found 2 frames of detections, expected 1'):
        evaluate_kitti(frames([]), frames([], []))


def test_the_order_of_frames_does_not_matter():
    truth, detections = random_scene(np.random.default_rng(3), 20, 14)
    order = np.random.default_rng(4).permutation(20)
    shuffled = [concatenate([own[frame] for frame in order]) for own in (truth, detections)]
    assert values(evaluate_kitti(truth, detections), 'mean') == values(evaluate_kitti(*shuffled), 'mean')


def test_the_summary_has_a_row_for_every_class_and_metric():
    rows = summary(evaluate_kitti(*random_scene(np.random.default_rng(3), 20, 14), CLASSES))
    assert [row[:2] for row in rows] == [
        (name, metric) for name in (*CLASSES, 'mean') for metric in ('3d', 'bev', '2d')
    ]
    assert all(len(row) == len(SUMMARY_HEADER) for row in rows)
    assert rows[0][2] == 0.7
    assert rows[-1][2] is None
