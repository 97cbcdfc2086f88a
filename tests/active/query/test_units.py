import numpy as np
import pytest

from ssal3d.active.query.units import BudgetUnit, build_unit
from ssal3d.errors import UserError
from ssal3d.registry import BUDGET_UNITS

BOXES = np.array([[2, 1], [0, 0]])
CLASSES = ('Car', 'Cyclist')


@pytest.mark.parametrize(
    ('unit', 'empty_cost', 'prices', 'needs_boxes'),
    [
        ('boxes', 0, [3, 0], True),
        ('boxes', 2, [3, 2], True),
        ('frames', 0, [1, 1], False),
        ({'frame': 10, 'box': 2.5}, 0, [17.5, 10], True),
        ({'frame': 10, 'box': 0}, 0, [10, 10], False),
        ({'type': 'FrameAndBoxUnit', 'frame': 0, 'box': 2}, 0, [6, 0], True),
    ],
)
def test_what_frames_cost(unit, empty_cost, prices, needs_boxes):
    built = build_unit(unit, empty_cost)
    assert built.prices(BOXES, CLASSES).tolist() == prices
    assert built.needs_boxes is needs_boxes


@pytest.mark.parametrize(
    ('unit', 'empty_cost', 'message'),
    [
        ('boxs', 0, "unknown value of unit 'boxs'.*did you mean 'boxes'"),
        ('frames', 1, "empty_cost: found 1 with unit='frames'"),
        ({'frame': 1}, 0, 'expected .boxes., .frames. or dict'),
        ({'frame': 0, 'box': 0}, 0, 'expected one of them above 0'),
        ({'frame': -1, 'box': 0}, 0, 'unit.frame: found -1'),
        ({'type': 'Minutse'}, 0, "unknown unit of a budget 'Minutse'"),
        (7, 0, 'unit: found 7'),
    ],
)
def test_mistakes_are_named(unit, empty_cost, message):
    with pytest.raises(UserError, match=message):
        build_unit(unit, empty_cost)


def test_a_unit_of_ones_own():
    @BUDGET_UNITS.register_module()
    class SecondsUnit(BudgetUnit):
        def __init__(self, seconds):
            self.seconds = seconds

        def prices(self, boxes, classes):
            return boxes @ np.array([self.seconds[name] for name in classes])

    try:
        unit = build_unit({'type': 'SecondsUnit', 'seconds': {'Car': 4, 'Cyclist': 9}})
        assert unit.prices(BOXES, CLASSES).tolist() == [17, 0]
    finally:
        BUDGET_UNITS.module_dict.pop('SecondsUnit')
