"""JSON content with a value of a wrong type in one place."""

import copy
from collections.abc import Iterator
from typing import Any

WRONG = (None, True, -1, 3, 3.5, '', 'x', [], ['a'], {}, {'a': 1}, [[1]], float('nan'), 10**30)


def with_wrong_types(content: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield a dotted key, a value of another type than the one that stands there, and the content with this value.

    Args:
        content: Valid content.
    """
    for place in _places(content):
        right = _at(content, place)
        for value in WRONG:
            if type(value) is not type(right) and not (isinstance(right, float) and type(value) is int):
                yield '.'.join(map(str, place)), value, _put(content, place, value)


def _places(content: Any, above: tuple = ()) -> Iterator[tuple]:
    yield above
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, child in children:
        yield from _places(child, (*above, key))


def _at(content: Any, place: tuple) -> Any:
    for key in place:
        content = content[key]
    return content


def _put(content: Any, place: tuple, value: Any) -> Any:
    if not place:
        return value
    changed = copy.deepcopy(content)
    _at(changed, place[:-1])[place[-1]] = value
    return changed
