import numpy as np
import pytest

from ssal3d.active.query.cost_score import USUAL, calibrated_scores, cost_scores
from ssal3d.active.sampler import Detections
from ssal3d.errors import UserError
from tests.helpers.active_pools import CLASSES, box, make_pool


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
