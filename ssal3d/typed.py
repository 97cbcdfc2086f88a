"""Values from files and configs, checked against the annotations of the code that takes them."""

import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from ssal3d.errors import UserError

Record = TypeVar('Record')

_LARGEST = 2**63  # beyond it, no array holds a whole number
_NAMES = {
    **{bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text'},
    **{type(None): 'null', Mapping: 'an object', dict: 'an object'},
    **{Sequence: 'a list', tuple: 'a list', list: 'a list'},
}


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value is what an annotation says; True for annotations that are not about plain data.

    A list may stand for a tuple and a whole number for a float; NaN is no number.

    >>> fits({'Car': 3}, Mapping[str, int]), fits({'Car': 3.5}, Mapping[str, int]), fits(True, int)
    (True, False, False)
    """
    kind, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, types.UnionType):
        return any(fits(value, option) for option in arguments)
    if kind is Literal:
        return value in arguments
    plain = _PLAIN.get(kind)
    if plain is not None:
        return plain(value)
    if is_typeddict(kind):
        hints = _hints(kind)
        return isinstance(value, Mapping) and all(fits(value[key], hints[key]) for key in hints if key in value)
    if kind in (Mapping, dict):
        return (
            isinstance(value, Mapping) and _each(value.keys(), arguments[:1]) and _each(value.values(), arguments[1:])
        )
    if kind in (Sequence, tuple, list):
        if not isinstance(value, list | tuple):
            return False
        if kind is tuple and arguments and arguments[-1] is not Ellipsis:
            return len(value) == len(arguments) and all(map(fits, value, arguments))
        return _each(value, arguments[:1])
    return True


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether a value is a number that an array can hold, neither infinite nor NaN; True and False are none."""
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def expected(annotation: Any) -> str:
    """Return what an annotation asks for, in words.

    >>> expected(Mapping[str, int] | None)
    'an object (each a whole number) or null'
    """
    kind, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, types.UnionType):
        return ' or '.join(dict.fromkeys(map(expected, arguments)))
    if kind is Literal:
        return ' or '.join(map(repr, arguments))
    if is_typeddict(kind):
        return _NAMES[Mapping]
    inner = [entry for entry in arguments if entry is not Ellipsis and entry in _NAMES]
    name = _NAMES.get(kind, getattr(kind, '__name__', str(kind)))
    return f'{name} (each {_NAMES[inner[-1]]})' if inner else name


def check_value(value: Any, annotation: Any, source: object, place: str = '') -> None:
    """Check a value from a file against an annotation.

    Args:
        value: What was read.
        annotation: What is expected, see `fits`. A `TypedDict` names keys: others may hold anything, and none must be
            there.
        source: The file, for the message.
        place: Dotted key of the value in the file.

    Raises:
        UserError: If something does not fit; names the innermost place, what was found and what is expected.
    """
    if fits(value, annotation):
        return
    for name, entry, inner in _parts(value, annotation):
        check_value(entry, inner, source, f'{place}.{name}' if place else str(name))
    where = ': '.join(filter(None, (str(source), place)))
    raise UserError(f'{where}: found {_short(value)}, expected {expected(annotation)}')


def check_fields(kind: Callable[..., Any], values: Mapping[str, Any], where: str) -> None:
    """Check values against the annotations of a dataclass, or of the arguments of a class or function.

    Args:
        kind: What will take the values.
        values: By name; names that it does not know are passed over.
        where: What the values belong to, for the message; empty if their names tell.

    Raises:
        UserError: If one does not fit; names it, what was found and what is expected.
    """
    hints = _hints(kind)
    check_value(values, Mapping, where)
    for name, value in values.items():
        if name in hints:
            check_value(value, hints[name], where, name)


def record(kind: Callable[..., Record], values: Mapping[str, Any], where: str) -> Record:
    """Build a dataclass of values that fit its annotations.

    Args:
        kind: A dataclass; its annotations say what fits.
        values: Its fields by name.
        where: File and entry, for the message.

    Raises:
        UserError: If a value does not fit.
    """
    check_fields(kind, values, where)
    return kind(**values)


def _parts(value: Any, annotation: Any) -> Iterator[tuple[object, Any, Any]]:
    """Yield name, value and annotation of what a value of the right kind consists of."""
    kind, arguments = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, types.UnionType):
        for option in arguments:
            yield from _parts(value, option)
    elif is_typeddict(kind) and isinstance(value, Mapping):
        yield from ((key, value[key], hint) for key, hint in _hints(kind).items() if key in value)
    elif kind in (Mapping, dict) and isinstance(value, Mapping) and arguments and _each(value, arguments[:1]):
        yield from ((key, entry, arguments[1]) for key, entry in value.items())
    elif kind in (Sequence, list, tuple) and isinstance(value, list | tuple) and _is_endless(kind, arguments):
        for index, entry in enumerate(value):
            name = entry.get('frame_id') if isinstance(entry, Mapping) else None
            yield f'{index} (frame {name})' if isinstance(name, str) else index, entry, arguments[0]


def _is_endless(kind: Any, arguments: Sequence[Any]) -> bool:
    return bool(arguments) and (kind is not tuple or arguments[-1] is Ellipsis)


def _each(values: Any, arguments: Sequence[Any]) -> bool:
    return not arguments or arguments[0] is Any or all(fits(value, arguments[0]) for value in values)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_LARGEST <= value < _LARGEST


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and not math.isnan(value))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


@lru_cache(maxsize=256)
def _hints(kind: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a class's fields or arguments; none where they name what cannot be imported."""
    try:
        is_record = not isinstance(kind, type) or is_dataclass(kind) or is_typeddict(kind)
        made = kind if is_record else kind.__init__
        return {name: hint for name, hint in get_type_hints(made).items() if name != 'return'}
    except Exception:  # annotations are text in some code, and may name anything
        return {}


_PLAIN: dict[Any, Callable[[Any], bool]] = {
    bool: lambda value: isinstance(value, bool),
    int: _is_whole,
    float: _is_number,
    str: lambda value: isinstance(value, str),
    type(None): lambda value: value is None,
    None: lambda value: value is None,
    Any: lambda value: True,
}
