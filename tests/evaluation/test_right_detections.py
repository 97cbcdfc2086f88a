"""Which detections count as right, by the three rules of matching."""

import numpy as np
import pytest
from shapely import affinity, geometry

from ssal3d.errors import UserError
from ssal3d.evaluation.right_detections import MATCHINGS, class_thresholds, right_detections

CAR = np.array([10.0, 0, 1, 4, 2, 1.5, 0.3])
AWAY = CAR + np.eye(7)[1] * 30


def judge(boxes, labels, scores, truth, truth_labels, matching='independent', min_iou=(0.7, 0.5)):
    ends = np.array([0, len(boxes)]), np.array([0, len(truth)])
    arrays = np.reshape(boxes, (-1, 7)), np.array(labels), np.array(scores)
    theirs = np.reshape(truth, (-1, 7)), np.array(truth_labels, dtype=int)
    return right_detections(*arrays, ends[0], *theirs, ends[1], np.array(min_iou), matching).tolist()


def test_duplicates_are_right_unless_an_object_counts_once():
    found = [CAR, CAR], [0, 0], [0.6, 0.9], [CAR], [0]
    assert judge(*found) == [True, True]
    assert judge(*found, 'best_any_class') == [True, True]
    assert judge(*found, 'greedy') == [False, True]  # the more confident one


def test_the_threshold_is_that_of_the_class_and_included():
    shifted = CAR + np.array([0, 0, 0.3, 0, 0, 0, 0])  # IoU 1.2 / 1.8
    assert judge([shifted, shifted], [0, 1], [0.5, 0.5], [CAR, CAR], [0, 1]) == [False, True]
    half = np.array([0.0, 0, 0, 2, 2, 2, 0]), np.array([0.0, 0, 0, 2, 2, 1, 0])  # IoU one half exactly
    assert judge([half[0]], [1], [0.5], [half[1]], [1]) == [True]


def test_a_detection_on_an_object_of_another_class_is_wrong():
    for matching in MATCHINGS:
        assert judge([CAR], [1], [0.9], [CAR], [0], matching) == [False]
        assert judge([CAR], [0], [0.9], [CAR], [-1], matching) == [False]  # of a class that is not detected


def test_a_better_overlap_with_another_class_counts_only_over_all_classes():
    near = CAR + np.eye(7)[0] * 0.2
    for matching, right in (('independent', True), ('greedy', True), ('best_any_class', False)):
        assert judge([CAR], [0], [0.9], [near, CAR], [0, 1], matching) == [right]


def test_frames_are_apart_and_may_be_empty():
    boxes = np.stack([CAR, CAR, AWAY])
    ends, truth_ends = np.array([0, 0, 1, 1, 3]), np.array([0, 1, 2, 2, 2])
    rest = np.stack([AWAY, CAR]), np.zeros(2, int)
    result = right_detections(boxes, np.zeros(3, int), np.ones(3), ends, *rest, truth_ends, np.array([0.5]))
    assert result.tolist() == [True, False, False]
    nothing = np.zeros((0, 7)), np.zeros(0, int)
    none = right_detections(*nothing, np.zeros(0), np.array([0, 0]), *rest, np.array([0, 2]), np.array([0.5]))
    assert none.tolist() == []


def overlap(a, b):
    shapes = [affinity.rotate(geometry.box(-box[3] / 2, -box[4] / 2, box[3] / 2, box[4] / 2), box[6], use_radians=True)
              for box in (a, b)]  # fmt: skip
    shapes = [affinity.translate(shape, *box[:2]) for shape, box in zip(shapes, (a, b), strict=True)]
    height = max(0, min(a[2] + a[5] / 2, b[2] + b[5] / 2) - max(a[2] - a[5] / 2, b[2] - b[5] / 2))
    common = shapes[0].intersection(shapes[1]).area * height
    return common / (np.prod(a[3:6]) + np.prod(b[3:6]) - common)


@pytest.mark.parametrize('matching', MATCHINGS)
def test_random_scenes_agree_with_the_rules_word_by_word(matching):
    random = np.random.default_rng(4)
    for _ in range(20):
        truth = np.column_stack((random.uniform(0, 6, (6, 2)), random.normal(0, 0.1, 6), np.tile(CAR[3:6], (6, 1)), random.uniform(-3, 3, 6)))  # fmt: skip
        chosen = random.integers(0, 6, 9)
        boxes = truth[chosen] + random.normal(0, 0.15, (9, 7)) * (1, 1, 1, 0, 0, 0, 1)
        labels, truth_labels, scores = random.integers(0, 2, 9), random.integers(0, 2, 6), random.random(9)
        min_iou = (0.7, 0.5)
        expected, taken = [False] * 9, set()
        for d in np.argsort(-scores):
            candidates = [g for g in range(6) if g not in taken]
            if matching != 'best_any_class':
                candidates = [g for g in candidates if truth_labels[g] == labels[d]]
            overlaps = {g: overlap(boxes[d], truth[g]) for g in candidates}
            best = max(overlaps, key=overlaps.get, default=None)
            if best is not None and overlaps[best] >= min_iou[labels[d]] and truth_labels[best] == labels[d]:
                expected[d] = True
                if matching == 'greedy':
                    taken.add(best)
        assert judge(boxes, labels, scores, truth, truth_labels, matching, min_iou) == expected


def test_arrays_of_predictions_are_taken_as_they_are():
    # What prediction files hold: float32 boxes and scores, int16 labels.
    boxes = CAR[None].astype(np.float32)
    args = boxes, np.zeros(1, np.int16), np.ones(1, np.float32), np.array([0, 1]), boxes, np.zeros(1, np.int64)
    assert right_detections(*args, np.array([0, 1]), np.array([0.99])).tolist() == [True]


def test_names_and_numbers_are_checked():
    with pytest.raises(UserError, match=r"unknown matching 'gredy'.*did you mean 'greedy'"):
        judge([CAR], [0], [1], [CAR], [0], 'gredy')
    assert class_thresholds(('Vehicle', 'Cyclist'), {'Cyclist': 0.3}) == {'Vehicle': 0.7, 'Cyclist': 0.3}
    with pytest.raises(UserError, match="class 'Bus' needs an IoU threshold of its own"):
        class_thresholds(('Bus',))
    with pytest.raises(UserError, match="unknown class 'Cra'"):
        class_thresholds(('Car',), {'Cra': 0.5})
    with pytest.raises(UserError, match=r'IoU threshold of Car: found 1\.5'):
        class_thresholds(('Car',), {'Car': 1.5})
