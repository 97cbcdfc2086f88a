"""Class names: settings keyed by them, turned into arrays, and the name that somebody probably meant."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import UserError

# Waymo's vehicles are 'Vehicle' in OpenPCDet and the papers, 'Car' in MMDetection3D.
ALIASES = {'Vehicle': 'Car', 'Car': 'Vehicle'}

# Waymo's types, by the names that data sets and papers use.
TYPE_OF_CLASS = {
    'Car': 'VEHICLE',
    'Vehicle': 'VEHICLE',
    'Pedestrian': 'PEDESTRIAN',
    'Cyclist': 'CYCLIST',
    'Sign': 'SIGN',
}

# What data sets call the same kind of object.
SYNONYMS = (
    ('pedestrian', 'person', 'human', 'people', 'walker'),
    ('cyclist', 'bicyclist', 'bicycle', 'bike', 'rider'),
    ('car', 'vehicle', 'automobile', 'passenger_car'),
    ('truck', 'lorry'),
    ('motorcycle', 'motorcyclist', 'motorbike'),
)


def unknown_class(found: str, known: Iterable[str], kind: str = 'class') -> UserError:
    """Build the error for a class that is not known; names the one that is probably meant.

    Args:
        found: The name that was given.
        known: The names that exist.
        kind: What the name names, for the message.

    >>> str(unknown_class('person', ['Car', 'Pedestrian'])).rpartition('; ')[2]
    "did you mean 'Pedestrian'?"
    """
    names = list(known)
    nearest = nearest_class(found, names)
    hint = f"; did you mean '{nearest}'?" if nearest else ''
    return UserError(f"unknown {kind} '{found}': expected one of {', '.join(names)}{hint}")


def nearest_class(found: str, known: Iterable[str]) -> str | None:
    """Return the known class that is probably meant: the same word in other letters, a synonym, or one spelt alike."""
    by_word = {name.lower(): name for name in known}
    word = found.lower()
    alike = [word, *(other for group in SYNONYMS if word in group for other in group)]
    alike += get_close_matches(word, by_word, n=1)
    return next((by_word[name] for name in alike if name in by_word), None)


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
    raise unknown_class(name, classes, f'class in {where}')


def per_class(values: float | Mapping[str, float], classes: Sequence[str], where: str) -> NDArray[np.float64]:
    """Return one value per class.

    Args:
        values: One value for all classes, or one by class name.
        classes: Class names that give the order.
        where: What is being read, for error messages.

    Returns:
        ``(C,)`` values.

    Raises:
        UserError: If a name is unknown, given twice (as 'Car' and 'Vehicle') or missing, or a value is not a number.

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
