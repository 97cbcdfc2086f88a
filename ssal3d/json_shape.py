"""Whether JSON content that people or other programs write has the types that its reader expects."""

import math
from collections.abc import Mapping
from typing import Any

from ssal3d.errors import UserError

# How a shape is written: a type, `NUMBER`, several of them as a tuple, a list with the shape of its items, or a dictionary
# of shapes by key, where the key `str` stands for every other one.
Shape = Any
NUMBER = (int, float)
_WORDS = {
    str: 'text',
    int: 'a whole number',
    float: 'a number',
    bool: 'true or false',
    list: 'a list',
    dict: 'an object',
    type(None): 'null',
}


def check_shape(content: Any, shape: Shape, path: object, place: str = '') -> None:
    """Check the types of JSON content. Keys that the shape does not name may hold anything, and none must be there.

    Args:
        content: What was read.
        shape: What is expected, e.g. ``{'classes': [str], 'pool': {'size': int}}``.
        path: The file, for the error.
        place: Dotted key of the content within the file.

    Raises:
        UserError: If something has another type, or is a number that is not finite.
    """
    if isinstance(shape, list):
        _check_type(content, (list,), path, place)
        for index, item in enumerate(content):
            name = item.get('frame_id') if isinstance(item, Mapping) else None
            check_shape(
                item, shape[0], path, _join(place, f'{index} (frame {name})' if isinstance(name, str) else index)
            )
    elif isinstance(shape, Mapping):
        _check_type(content, (dict,), path, place)
        for key, value in content.items():
            if (inner := shape.get(key, shape.get(str))) is not None:
                check_shape(value, inner, path, _join(place, key))
    else:
        _check_type(content, shape if isinstance(shape, tuple) else (shape,), path, place)


def _check_type(content: Any, types: tuple[type, ...], path: object, place: str) -> None:
    finite = not isinstance(content, float) or math.isfinite(content)
    if type(content) in types and finite:  # by its very type: in Python true is a whole number
        return
    where = f'{path}: {place}' if place else str(path)
    shown = repr(content) if len(repr(content)) <= 60 else f'{repr(content)[:57]}...'
    words = dict.fromkeys(_WORDS[kind] for kind in types if kind is not int or float not in types)
    raise UserError(f'{where}: found {shown}, expected {" or ".join(words)}; correct the file')


def _join(place: str, key: object) -> str:
    return f'{place}.{key}' if place else str(key)
