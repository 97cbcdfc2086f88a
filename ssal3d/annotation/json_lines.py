"""JSON whose objects know their line, so that a message about a wrong box can say where it stands."""

import json
import re
from bisect import bisect_right
from collections.abc import Mapping
from json import decoder, scanner
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError
from ssal3d.fileio import refuse_half_characters
from ssal3d.typed import is_finite


class Located(dict):
    """A JSON object that remembers where it begins.

    Attributes:
        where: File and line.
    """

    where: str = ''


class _Decoder(json.JSONDecoder):
    """Decodes objects as `Located`; the scanner in C calls no method for them, so that in Python is used."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__()
        starts = [0, *(match.end() for match in re.finditer('\n', text))]

        def parse_object(text_and_end: tuple[str, int], *rest: Any) -> tuple[Located, int]:
            found, end = decoder.JSONObject(text_and_end, *rest)  # type: ignore[attr-defined]
            located = Located(found)
            located.where = f'{source}, line {bisect_right(starts, text_and_end[1] - 1)}'
            return located, end

        self.parse_object = parse_object
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]


def read_located_json(path: str | Path) -> Any:
    """Read a JSON file whose objects know their line.

    Raises:
        UserError: If the file is missing or is not JSON; names the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding='utf-8-sig')
        content = _Decoder(text, str(path)).decode(text)
        refuse_half_characters(text, content)
        return content
    except FileNotFoundError:
        raise UserError(f'{path}: no such file; check the path') from None
    except json.JSONDecodeError as error:
        raise UserError(f'{path}, line {error.lineno}: not valid JSON ({error.msg}); export it again') from None
    except (ValueError, RecursionError, OSError) as error:  # also halves of characters, numbers of thousands of digits
        raise UserError(f'{path}: not readable as JSON ({type(error).__name__}: {error}); export it again') from None


def where(entry: object, default: str = '') -> str:
    """Return where a located object begins."""
    return getattr(entry, 'where', '') or default


def member(entry: object, *keys: str, source: str = '') -> Any:
    """Return ``entry[key][key]...`` of nested JSON objects.

    Raises:
        UserError: If a key is missing; names file, line and key.
    """
    found: Any = entry
    for depth, key in enumerate(keys):
        if not isinstance(found, Mapping) or key not in found:
            shown = sorted(map(str, found))[:8] if isinstance(found, Mapping) else type(found).__name__
            path = '.'.join(keys[: depth + 1])
            raise UserError(
                f"{where(found, where(entry, source))}: '{path}' is missing, found {shown}; export it again"
            )
        found = found[key]
    return found


def numbers(entry: object, keys: str, *path: str, source: str = '') -> list[float]:
    """Return the finite numbers ``entry[path][key]`` for every letter or word of ``keys``.

    Args:
        entry: A JSON object.
        keys: Separated by blanks, e.g. ``'x y z'``.
        path: Keys of the objects that hold them.
        source: For messages about objects that do not know their line.

    Raises:
        UserError: If one is missing or is no finite number.
    """
    holder = member(entry, *path, source=source) if path else entry
    place = where(holder, where(entry, source))
    return [number(member(holder, key, source=place), '.'.join((*path, key)), place) for key in keys.split()]


def number(value: object, name: str, place: str) -> float:
    """Return a finite number.

    Raises:
        UserError: If it is none.
    """
    if not is_finite(value):
        raise UserError(f'{place}: found {name} {value!r}, expected a finite number')
    return float(value)


def listed(value: object, name: str, place: str) -> list:
    """Return a JSON list.

    Raises:
        UserError: If it is none.
    """
    if not isinstance(value, list):
        raise UserError(f'{place}: found {type(value).__name__} as {name}, expected a list; export it again')
    return value


def mapped(entry: object, key: str, source: str = '') -> Mapping[str, Any]:
    """Return the JSON object ``entry[key]``; an empty one if there is none.

    Raises:
        UserError: If ``entry`` or what stands there is no object.
    """
    place = where(entry, source)
    found = entry.get(key, {}) if isinstance(entry, Mapping) else entry
    if not isinstance(entry, Mapping) or not isinstance(found, Mapping):
        raise UserError(f'{place}: found {type(found).__name__} as {key}, expected an object; export it again')
    return found
