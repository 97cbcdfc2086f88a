import numpy as np
import pytest

from ssal3d.class_names import class_index, per_class
from ssal3d.errors import UserError


def test_values_follow_the_order_of_the_classes():
    weights = {'Car': 0.3, 'Pedestrian': 1.1, 'Cyclist': 1.6}
    assert per_class(weights, ('Pedestrian', 'Cyclist', 'Car'), 'w').tolist() == [1.1, 1.6, 0.3]
    assert per_class(0.5, ('Car', 'Van'), 'w').tolist() == [0.5, 0.5]
    assert per_class({'Car': float('inf')}, ('Car',), 'w').tolist() == [np.inf]


def test_vehicle_and_car_stand_for_each_other_unless_both_exist():
    assert class_index('Vehicle', ('Pedestrian', 'Car'), 'w') == 1
    assert class_index('Car', ('Vehicle',), 'w') == 0
    assert class_index('Vehicle', ('Car', 'Vehicle'), 'w') == 1


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'Car': 1, 'Pedestrain': 1}, "unknown class in w 'Pedestrain'.*did you mean 'Pedestrian'"),
        ({'Car': 1}, "class 'Pedestrian' is missing"),
        ({'Car': 1, 'Vehicle': 2, 'Pedestrian': 1}, "class 'Car' is given twice"),
        ({'Car': '1', 'Pedestrian': 1}, "found '1' for class 'Car', expected a number"),
        ({'Car': float('nan'), 'Pedestrian': 1}, 'found nan'),
        ('high', "found 'high' for class 'Car', expected a number"),
    ],
)
def test_wrong_settings_are_named(values, message):
    with pytest.raises(UserError, match=message):
        per_class(values, ('Car', 'Pedestrian'), 'w')
