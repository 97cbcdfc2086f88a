"""Checks of options that users set."""

import math

from ssal3d.errors import UserError, unknown_name


def one_of(option: str, value: str, known: tuple[str, ...]) -> str:
    """Return an option's value if it is one of the known ones.

    Raises:
        UserError: If it is not; names the nearest one.
    """
    if value not in known:
        raise unknown_name(f'value of {option}', value, list(known))
    return value


def check_range(option: str, value: float, low: float = 0, high: float = math.inf) -> float:
    """Return an option's value if it is a number in ``[low, high]``.

    Raises:
        UserError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise UserError(f'{option}: found {value!r}, expected a number in [{low:g}, {high:g}]')
    return value
