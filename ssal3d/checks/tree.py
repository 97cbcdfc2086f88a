"""Walking through a config of plain dictionaries and lists."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def mappings(value: Any, path: str = '') -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every dictionary below a value, itself included, with its dotted key.

    >>> [path for path, _ in mappings({'a': [{'b': 1}], 'c': {'d': 2}})]
    ['', 'a.0', 'c']
    """
    if isinstance(value, Mapping):
        yield path, value
        for key, child in value.items():
            yield from mappings(child, join(path, key))
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from mappings(child, join(path, index))


def join(path: str, key: object) -> str:
    """Return the dotted key of something below a path."""
    return f'{path}.{key}' if path else str(key)


def at(config: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """Return what stands at a dotted key, or the default.

    >>> at({'a': [{'b': 1}]}, 'a.0.b')
    1
    """
    value: Any = config
    for key in path.split('.'):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list | tuple) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return default
    return value


def numbers(value: Any, count: int | None = None) -> list[float] | None:
    """Return a sequence of numbers as a list; None if it is no such sequence, or has another length."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    if any(isinstance(item, bool) or not isinstance(item, int | float) for item in value):
        return None
    return [float(item) for item in value] if count is None or len(value) == count else None


def shown(values: Any) -> str:
    """Return a value for a line of text; numbers without trailing zeros.

    >>> shown([0.0, -40.0, 0.1])
    '[0, -40, 0.1]'
    """
    listed = numbers(values)
    return repr(values) if listed is None else '[' + ', '.join(f'{value:g}' for value in listed) + ']'
