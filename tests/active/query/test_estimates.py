import numpy as np
import pytest

from ssal3d.active.query.estimates import estimate, labelled_table
from ssal3d.active.query.settings import QuerySettings
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError

CLASSES = ('Car', 'Pedestrian', 'Cyclist')
NOTHING = np.zeros((0, 3), dtype=np.int64)
LABELLED = np.array([[5, 0, 0], [0, 0, 2], [0, 0, 0]])
PREDICTED = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0]])


def found(labelled, predicted, budget, **settings):
    return tuple(estimate(QuerySettings(budget, **settings), labelled, predicted, CLASSES))


def test_boxes_per_labelled_frame_else_per_predicted_one():
    assert found(LABELLED, PREDICTED, 10) == (5, 10)  # ceil(10 / (7 / 3))
    assert found(NOTHING, PREDICTED, 10) == (8, 10)  # ceil(10 / (4 / 3))
    assert found(np.zeros((4, 3), np.int64), PREDICTED, 10) == (8, 10)
    assert found(NOTHING, np.zeros((2, 3), np.int64), 10) == (2, 10)


def test_other_units():
    assert found(LABELLED, PREDICTED, 9, unit='frames') == (9, 21)
    assert found(NOTHING, PREDICTED, 9, unit='frames') == (9, 12)
    assert found(LABELLED, PREDICTED, 30, unit={'frame': 5, 'box': 1}) == (5, 10)  # 22 units for 3 frames, 7 boxes


def test_the_table_follows_names():
    labels = LabelState(('Cyclist', 'Vehicle', 'Pedestrian'), 'p', 3, '').buy(
        0, [('x', {'Vehicle': 5}), ('y', {'Cyclist': 2}), ('z', {})]
    )
    assert labelled_table(labels, CLASSES).tolist() == LABELLED.tolist()
    assert labelled_table(labels, CLASSES, ['z', 'x']).tolist() == [[0, 0, 0], [5, 0, 0]]
    with pytest.raises(UserError, match="unknown class in the label state 'Cyclist'"):
        labelled_table(labels, ('Car', 'Pedestrian'))
