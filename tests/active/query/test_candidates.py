import pytest

from ssal3d.active.query.candidates import labelled_table
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from tests.helpers.active_pools import CLASSES


def test_the_table_follows_names():
    labels = LabelState(('Cyclist', 'Vehicle', 'Pedestrian'), 'p', 3, '').buy(
        0, [('x', {'Vehicle': 5}), ('y', {'Cyclist': 2}), ('z', {})]
    )
    assert labelled_table(labels, CLASSES).tolist() == [[5, 0, 0], [0, 0, 2], [0, 0, 0]]
    assert labelled_table(labels, CLASSES, ['z', 'x']).tolist() == [[0, 0, 0], [5, 0, 0]]
    with pytest.raises(UserError, match="unknown class in the label state 'Cyclist'"):
        labelled_table(labels, ('Car', 'Pedestrian'))
