"""What a frame costs: a budget may be counted in boxes, in frames, or in both."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import UserError, unknown_name
from ssal3d.options import check_range
from ssal3d.registry import BUDGET_UNITS

NAMES = ('boxes', 'frames')


class BudgetUnit(ABC):
    """Base of all units: subclasses register in ``BUDGET_UNITS`` and implement `prices`.

    Attributes:
        needs_boxes: Whether the price of a frame depends on its boxes.
        whole: Whether a budget must be a whole number.
        plural: What is spent, for messages, e.g. ``'boxes'``.
    """

    needs_boxes: bool = True
    whole: bool = False
    plural: str = 'units'

    @abstractmethod
    def prices(self, boxes: NDArray[np.number], classes: Sequence[str]) -> NDArray[np.float64]:
        """Return what frames cost.

        Args:
            boxes: ``(F, C)`` boxes of each frame by class, predicted or annotated ones; estimates may be fractions.
            classes: Names of the C classes.

        Returns:
            ``(F,)`` prices >= 0.
        """


@BUDGET_UNITS.register_module()
class BoxUnit(BudgetUnit):
    """Every box costs 1, as in the published comparisons.

    Args:
        empty_cost: What a frame without boxes costs, in boxes.
    """

    whole = True
    plural = 'boxes'

    def __init__(self, empty_cost: float = 0) -> None:
        self.empty_cost = check_range('empty_cost', empty_cost)

    def prices(self, boxes: NDArray[np.number], classes: Sequence[str]) -> NDArray[np.float64]:
        """Return the number of boxes of each frame, ``empty_cost`` where there are none."""
        total = boxes.sum(axis=1, dtype=np.float64)
        return np.where(total > 0, total, self.empty_cost)


@BUDGET_UNITS.register_module()
class FrameUnit(BudgetUnit):
    """Every frame costs 1, whatever it holds."""

    needs_boxes = False
    whole = True
    plural = 'frames'

    def prices(self, boxes: NDArray[np.number], classes: Sequence[str]) -> NDArray[np.float64]:
        """Return 1 for each frame."""
        return np.ones(len(boxes))


@BUDGET_UNITS.register_module()
class FrameAndBoxUnit(BudgetUnit):
    """A frame costs something to be opened and checked, and each of its boxes something on top, e.g. in seconds.

    Args:
        frame: Cost of a frame.
        box: Cost of a box.
    """

    plural = 'units'

    def __init__(self, frame: float, box: float) -> None:
        self.frame, self.box = check_range('unit.frame', frame), check_range('unit.box', box)
        if not frame + box > 0:
            raise UserError(f'unit: found frame={frame}, box={box}, expected one of them above 0')
        self.needs_boxes = box > 0

    def prices(self, boxes: NDArray[np.number], classes: Sequence[str]) -> NDArray[np.float64]:
        """Return the cost of opening each frame plus that of its boxes."""
        return self.frame + self.box * boxes.sum(axis=1, dtype=np.float64)


def build_unit(unit: str | Mapping[str, Any], empty_cost: float = 0) -> BudgetUnit:
    """Return the unit that a setting names.

    Args:
        unit: ``'boxes'``, ``'frames'``, ``dict(frame=..., box=...)``, or ``dict(type=..., ...)`` of a registered unit.
        empty_cost: What a frame without boxes costs; of use with ``'boxes'`` alone.

    Raises:
        UserError: If there is no such unit, or ``empty_cost`` is given to a unit that prices frames itself.
    """
    if unit == 'boxes':
        return BoxUnit(empty_cost)
    if empty_cost:
        raise UserError(f"empty_cost: found {empty_cost} with unit={unit!r}, expected unit='boxes'; leave it out")
    if unit == 'frames':
        return FrameUnit()
    if isinstance(unit, str):
        raise unknown_name('value of unit', unit, list(NAMES))
    if not isinstance(unit, Mapping) or (not {'type'} <= set(unit) and set(unit) != {'frame', 'box'}):
        raise UserError(f"unit: found {unit!r}, expected 'boxes', 'frames' or dict(frame=..., box=...)")
    built: BudgetUnit = BUDGET_UNITS.build(unit if 'type' in unit else {'type': 'FrameAndBoxUnit', **unit})
    return built
