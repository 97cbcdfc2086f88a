import numpy as np
import pytest

from ssal3d.active.query.costs import USUAL, calibrated_scores, cost_scores, estimate
from ssal3d.active.query.settings import QuerySettings
from ssal3d.active.sampler import Detections
from ssal3d.errors import UserError
from tests.helpers.active_pools import CLASSES, box, make_pool

NOTHING = np.zeros((0, 3), dtype=np.int64)
LABELLED = np.array([[5, 0, 0], [0, 0, 2], [0, 0, 0]])
PREDICTED = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0]])


def detections(scores_by_class, unreliable=0):
    boxes = [box(name, score) for name, scores in scores_by_class.items() for score in scores]
    found = Detections.of(make_pool({'a': boxes}))
    found.reliable[:unreliable] = False
    return found


def test_as_many_boxes_count_as_are_annotated():
    scores = np.linspace(0.05, 0.95, 91)
    known = detections({'Car': scores})
    found = calibrated_scores(known, np.array([20, 0, 0]))
    assert (known.predictions.scores > found.scores[0]).sum() == 20
    assert found.calibrated.tolist() == [True, True, True]
    assert found.mask(known.predictions).sum() == 20


def test_every_class_by_itself_where_it_has_ten_boxes():
    known = detections({'Car': np.linspace(0.5, 0.9, 20), 'Cyclist': np.linspace(0.1, 0.4, 20)})
    found = calibrated_scores(known, np.array([20, 0, 10]))
    assert found.scores[0] == 0  # all of them
    assert ((known.predictions.labels == 2) & found.mask(known.predictions)).sum() == 10
    together = np.sort(known.predictions.scores)[-31]  # 30 are annotated in all
    assert found.scores[1] == pytest.approx(together)


def test_only_reliable_boxes_are_counted():
    known = detections({'Car': np.linspace(0.9, 0.1, 40)}, unreliable=20)
    kept = known.predictions.scores[20:]
    assert (kept > calibrated_scores(known, np.array([10, 0, 0])).scores[0]).sum() == 10


def test_too_few_labelled_boxes_tell_nothing():
    found = calibrated_scores(detections({'Car': [0.9, 0.2]}), np.array([4, 3, 2]))
    assert found.scores.tolist() == [USUAL] * 3
    assert not found.calibrated.any()
    assert cost_scores('calibrated', CLASSES, None, np.zeros(3)).scores.tolist() == [USUAL] * 3


def test_given_scores_need_every_class():
    assert cost_scores(0.4, CLASSES, None, np.zeros(3)).scores.tolist() == [0.4] * 3
    assert cost_scores({'Vehicle': 0.1, 'Pedestrian': 0.2, 'Cyclist': 0.3}, CLASSES, None, np.zeros(3)).scores[0] == 0.1
    with pytest.raises(UserError, match="cost_score: class 'Pedestrian' is missing"):
        cost_scores({'Car': 0.1}, CLASSES, None, np.zeros(3))


def bought(labelled, predicted, budget, **settings):
    return tuple(estimate(QuerySettings(budget, **settings), labelled, predicted, CLASSES))


def test_boxes_per_labelled_frame_else_per_predicted_one():
    assert bought(LABELLED, PREDICTED, 10) == (5, 10)  # ceil(10 / (7 / 3))
    assert bought(NOTHING, PREDICTED, 10) == (8, 10)  # ceil(10 / (4 / 3))
    assert bought(np.zeros((4, 3), np.int64), PREDICTED, 10) == (8, 10)
    assert bought(NOTHING, np.zeros((2, 3), np.int64), 10) == (2, 10)


def test_other_units():
    assert bought(LABELLED, PREDICTED, 9, unit='frames') == (9, 21)
    assert bought(NOTHING, PREDICTED, 9, unit='frames') == (9, 12)
    assert bought(LABELLED, PREDICTED, 30, unit={'frame': 5, 'box': 1}) == (5, 10)  # 22 units for 3 frames, 7 boxes
