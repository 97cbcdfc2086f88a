"""What every average precision keeps to: its bounds, and that the order of frames and boxes decides nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssal3d.data.kitti_objects import KittiFrames, KittiObjects
from ssal3d.evaluation.kitti_ap import evaluate_kitti
from ssal3d.evaluation.lidar_ap import FrameBoxes, LidarSettings, evaluate_lidar
from ssal3d.evaluation.waymo_ap import CLASSES as WAYMO_CLASSES
from ssal3d.evaluation.waymo_ap import average_precision, evaluate_waymo
from ssal3d.evaluation.waymo_objects import WaymoObjects
from tests.properties.strategies import CLASSES

SCENES = st.tuples(st.integers(0, 10**6), st.integers(1, 9), st.floats(0, 1), st.floats(0, 1.5))


def scene(seed, frames, missed, noise):
    """Labels and detections of frames as lists of (frame, class, box, score): some missed, some moved, some made up."""
    rng = np.random.default_rng(seed)
    truth, found = [(0, 0, [12.0, 0, -1, 4, 1.7, 1.5, 0.3], 1.0)], []
    for frame in range(frames):
        for _ in range(rng.integers(0, 6)):
            box = [
                *rng.uniform((3, -30, -1), (60, 30, 0)),
                *rng.uniform((3, 1.5, 1.2), (5, 2.2, 2)),
                rng.uniform(-3, 3),
            ]
            truth.append((frame, int(rng.integers(3)), box, 1.0))
            if rng.random() >= missed:
                moved = np.array(box) + rng.normal(0, noise, 7) * [1, 1, 0.2, 0.05, 0.05, 0.05, 0.1]
                moved[3:6] = np.maximum(moved[3:6], 0.1)
                found.append((frame, truth[-1][1], moved.tolist(), 0.0))
        for _ in range(rng.integers(0, 3)):
            box = [*rng.uniform((3, -30, -1), (60, 30, 0)), 4, 2, 1.5, 0]
            found.append((frame, int(rng.integers(3)), box, 0.0))
    scores = rng.permutation(len(found)) / max(len(found), 1)  # distinct: what ties do is no property
    return truth, [(*entry[:3], float(score)) for entry, score in zip(found, scores)]


def lidar(rows, order):
    """Rows as `evaluate_lidar` takes them, frames in another order."""
    rows = sorted(rows, key=lambda row: order[row[0]])
    return FrameBoxes(
        np.array([row[2] for row in rows]).reshape(-1, 7),
        np.array([row[1] for row in rows], np.int64),
        np.array([order[row[0]] for row in rows], np.int64),
        np.full(len(rows), 50),
        np.array([row[3] for row in rows], float),
    )


def waymo(rows, order):
    """Rows as `evaluate_waymo` takes them."""
    types = np.array([[1, 2, 4][row[1]] for row in rows], np.int32)
    zeros = np.zeros(len(rows), np.int32)
    return WaymoObjects(
        np.array([order[row[0]] for row in rows], np.int64),
        np.array([row[2] for row in rows]).reshape(-1, 7),
        types,
        np.array([row[3] for row in rows], np.float32),
        zeros,
        zeros + 50,
        zeros.astype(bool),
    )


def kitti(rows, order, frames):
    """Rows as `evaluate_kitti` takes them; the image boxes stand beside each other, so that only equal ones overlap."""
    rows = sorted(rows, key=lambda row: order[row[0]])
    boxes = np.array([row[2] for row in rows]).reshape(-1, 7)
    place = np.array([[round(5 * row[2][0]), 100, round(5 * row[2][0]) + 4, 200] for row in rows], float).reshape(-1, 4)
    objects = KittiObjects(
        np.array([CLASSES[row[1]] for row in rows], dtype=np.str_),
        np.zeros(len(rows)),
        np.zeros(len(rows), np.int64),
        np.zeros(len(rows)),
        place,
        boxes[:, [5, 4, 3]],
        np.stack((-boxes[:, 1], -boxes[:, 2], boxes[:, 0]), axis=1),
        -boxes[:, 6],
        np.array([row[3] for row in rows], float),
    )
    counts = np.bincount([order[row[0]] for row in rows], minlength=frames)
    return KittiFrames(objects, np.append(0, counts.cumsum()))


def ap_lidar(truth, found, order):
    result = evaluate_lidar(lidar(truth, order), lidar(found, order), CLASSES, len(order), LidarSettings(resamples=0))
    return {f'{name} {key}': result[name][key] for name in CLASSES for key in ('centre', '3d')}


def ap_waymo(truth, found, order):
    result = evaluate_waymo(waymo(truth, order), waymo(found, order))
    return {
        f'{name} {level} {key}': None if value is None else 100 * value
        for name in WAYMO_CLASSES
        for level in ('L1', 'L2')
        for key, value in result[name][level].items()
    }


def ap_kitti(truth, found, order):
    result = evaluate_kitti(kitti(truth, order, len(order)), kitti(found, order, len(order)), small_sets=True)
    return {
        f'{name} {metric} {key}': result[name][metric]['R40'][key]
        for name in CLASSES
        for metric in ('bev', '3d', '2d')
        for key in ('easy', 'hard')
    }


EVALUATIONS = pytest.mark.parametrize('evaluate', [ap_lidar, ap_waymo, ap_kitti], ids=['lidar', 'waymo', 'kitti'])


def comparable(found):
    """Without what needs frames that both have."""
    return {key: value for key, value in found.items() if value is not None}


@EVALUATIONS
@given(drawn=SCENES, data=st.data())
def test_ap_lies_between_0_and_100_and_does_not_depend_on_the_order_of_frames(evaluate, drawn, data):
    truth, found = scene(*drawn)
    found = found or [(0, 0, truth[0][2], 0.5)]
    truth += [(frame, label, [200.0 + frame, 0, 0, 4, 2, 1.5, 0], 1.0) for frame, label, *_ in found]  # in every frame
    here = list(range(drawn[1]))
    values = comparable(evaluate(truth, found, here))
    assert values
    assert all(0 <= value <= 100 + 1e-9 for value in values.values())
    order = data.draw(st.permutations(here))
    assert comparable(evaluate(truth, found, order)) == pytest.approx(values, abs=1e-9)
    rng = np.random.default_rng(drawn[0])
    mixed = [[rows[row] for row in rng.permutation(len(rows))] for rows in (truth, found)]
    assert comparable(evaluate(*mixed, here)) == pytest.approx(values, abs=1e-9)


@EVALUATIONS
@given(drawn=SCENES)
def test_labels_as_detections_are_perfect_and_a_wrong_one_ahead_of_them_is_not(evaluate, drawn):
    truth, _ = scene(*drawn)
    here = list(range(drawn[1]))
    scores = np.linspace(0.3, 0.9, len(truth))
    found = [(*row[:3], float(score)) for row, score in zip(truth, scores)]
    assert comparable(evaluate(truth, found, here)) == pytest.approx(
        dict.fromkeys(comparable(evaluate(truth, found, here)), 100)
    )
    wrong = (0, 0, [300.0, 300.0, 0, 4, 2, 1.5, 0], 0.95)
    worse = comparable(evaluate(truth, [*found, wrong], here))
    assert all(value < 100 for key, value in worse.items() if key.startswith(('Car', 'VEHICLE')))
    assert all(value == pytest.approx(100) for key, value in worse.items() if not key.startswith(('Car', 'VEHICLE')))


@given(rows=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_the_area_under_a_curve_lies_between_0_and_its_greatest_precision_times_its_recall(rows):
    precisions, recalls = np.array(rows).T
    area = average_precision(precisions, recalls)
    assert -1e-12 <= area <= precisions.max() * recalls.max() + 1e-9
    assert average_precision(precisions[::-1], recalls[::-1]) == pytest.approx(area)
