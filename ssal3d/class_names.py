"""Settings keyed by class name, turned into arrays in the order of the predictions' classes."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import UserError, unknown_name

# Waymo's vehicles are 'Vehicle' in OpenPCDet and the papers, 'Car' in MMDetection3D.
ALIASES = {'Vehicle': 'Car', 'Car': 'Vehicle'}


def class_index(name: str, classes: Sequence[str], where: str) -> int:
    """Return the position of a class; 'Vehicle' and 'Car' stand for each other where only one of them exists.

    Raises:
        UserError: If there is no such class; names the nearest one.

    >>> class_index('Vehicle', ('Pedestrian', 'Car'), 'class_weights')
    1
    """
    if name in classes:
        return classes.index(name)
    if ALIASES.get(name) in classes:
        return classes.index(ALIASES[name])
    raise unknown_name(f'class in {where}', name, list(classes))


def per_class(values: float | Mapping[str, float], classes: Sequence[str], where: str) -> NDArray[np.float64]:
    """Return one value per class.

    Args:
        values: One value for all classes, or one by class name.
        classes: Class names that give the order.
        where: What is being read, for error messages.

    Returns:
        ``(C,)`` values.

    Raises:
        UserError: If a name is unknown, given twice (as 'Car' and 'Vehicle') or missing, or a value is no number.

    >>> per_class({'Car': 0.3, 'Cyclist': 1.6}, ('Cyclist', 'Car'), 'class_weights').tolist()
    [1.6, 0.3]
    """
    result = np.full(len(classes), np.nan)
    if not isinstance(values, Mapping):
        values = dict.fromkeys(classes, values)
    for name, value in values.items():
        index = class_index(name, classes, where)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or np.isnan(value):
            raise UserError(f"{where}: found {value!r} for class '{name}', expected a number")
        if not np.isnan(result[index]):
            raise UserError(f"{where}: class '{classes[index]}' is given twice; keep one of its names")
        result[index] = value
    missing = np.flatnonzero(np.isnan(result))
    if len(missing):
        raise UserError(f"{where}: class '{classes[missing[0]]}' is missing; give a value for {', '.join(classes)}")
    return result
