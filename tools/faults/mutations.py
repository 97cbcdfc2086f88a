"""Damage to valid files: at random places of their bytes, and at places that their structure gives."""

import copy
import json
import random
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

WORDS = (
    '',
    'nan',
    '-inf',
    '1e400',
    '-1',
    '0',
    '999999999999999999999',
    '1_0',
    '0x1f',
    '../../x',
    'Car',
    '"',
    "'",
    '\x00',
)
WORDS += ('<script>', '\x1b[2J', '\ufeff', 'é', '-0.0', '1e-320', 'x' * 300, ',', '\t', '5.5', 'None', 'true')
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 7, 2**31, -(2**63), 2**64, 10**30, 10**400, 0.5, -0.0, 1e308, -1e308, 1e-320),
    *(
        float('nan'),
        float('inf'),
        float('-inf'),
        '',
        'x',
        '0',
        '1.5',
        'nan',
        '../../etc/passwd',
        '/etc/passwd',
        '\ud800',
    ),
    *(
        '<script>alert(1)</script>',
        '\x1b[2J',
        'a\nb',
        '\x00',
        'x' * 2000,
        [],
        {},
        [[]],
        [None],
        [1],
        {'': {}},
        {'x': 1},
    ),
    *([0.0] * 7, ['a', 'b'], [{}], {'__class__': 'os.system'}),
)
_NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
_DEEP = 3000  # levels; Python's own parser allows fewer


def mutate(content: bytes, kind: str, chance: random.Random) -> bytes:
    """Return damaged content.

    Args:
        content: A valid file.
        kind: ``'json'``, ``'text'`` (words in lines) or ``'binary'``.
        chance: Decides what is damaged, and how.
    """
    by_structure = {'json': mutate_json, 'text': mutate_text}.get(kind)
    if by_structure is None or chance.random() < 0.3:
        return mutate_bytes(content, chance)
    return by_structure(content, chance)


def mutate_bytes(content: bytes, chance: random.Random) -> bytes:
    """Flip bits, cut, repeat, move and overwrite; several times at once now and then."""
    data = bytearray(content)
    for _ in range(1 if chance.random() < 0.7 else chance.randint(2, 6)):
        chance.choice(_BYTE_STEPS)(data, chance)
    return bytes(data)


def mutate_json(content: bytes, chance: random.Random) -> bytes:
    """Change values and keys of a JSON document, or nest it too deep."""
    if chance.random() < 0.01:
        return b'[' * _DEEP + content + b']' * _DEEP
    document = json.loads(content)
    for _ in range(1 if chance.random() < 0.7 else chance.randint(2, 5)):
        document = change_value(document, chance)
    return json.dumps(document).encode()


def change_value(document: Any, chance: random.Random) -> Any:
    """Return a document of dictionaries and lists with one change at a random place."""
    document = copy.deepcopy(document)
    places = list(_places(document))
    if not places or chance.random() < 0.01:
        return copy.deepcopy(chance.choice(VALUES))
    owner, key = chance.choice(places)
    chance.choice(_VALUE_STEPS)(owner, key, document, chance)
    return document


def mutate_text(content: bytes, chance: random.Random) -> bytes:
    """Change words and lines."""
    text = content.decode('latin1')
    for _ in range(1 if chance.random() < 0.7 else chance.randint(2, 6)):
        lines = text.split('\n')
        row = chance.randrange(len(lines))
        step = chance.randrange(7)
        if step < 4:
            words = re.split(r'([\s,:]+)', lines[row])
            place = chance.randrange(len(words))
            words[place] = chance.choice((*WORDS, chance.choice(words), words[place] * 2, words[place][:-1]))
            lines[row] = ''.join(words)
        elif step == 4:
            del lines[row]
        elif step == 5:
            lines.insert(row, chance.choice(lines))
        else:
            lines[row] = chance.choice(WORDS)
        text = '\n'.join(lines)
    return text.encode('utf-8')


def _places(value: Any) -> Any:
    """Yield owner and key of every value below."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield value, key
        yield from _places(entry)


def _replace(owner: Any, key: Any, document: Any, chance: random.Random) -> None:
    owner[key] = copy.deepcopy(chance.choice(VALUES))


def _retype(owner: Any, key: Any, document: Any, chance: random.Random) -> None:
    value = owner[key]
    other = {
        int: (float, str, lambda v: [v], lambda v: -v - 1),
        float: (str, lambda v: v * 1e6, lambda v: -v, lambda v: [v]),
    }
    other |= {str: (lambda v: [v], lambda v: v + v, lambda v: v.swapcase(), len), list: (str, len)}
    choices: Any = other.get(type(value), (str, lambda v: [v]))
    with suppress(OverflowError):  # of numbers that are huge already
        owner[key] = chance.choice(choices)(value)


def _remove(owner: Any, key: Any, document: Any, chance: random.Random) -> None:
    del owner[key]


def _transplant(owner: Any, key: Any, document: Any, chance: random.Random) -> None:
    source, place = chance.choice(list(_places(document)))
    owner[key] = copy.deepcopy(source[place])


def _rename_or_repeat(owner: Any, key: Any, document: Any, chance: random.Random) -> None:
    if isinstance(owner, dict):
        owner[chance.choice((*WORDS, key + 'x', key.upper()))] = owner.pop(key)
    else:
        owner.insert(key, copy.deepcopy(owner[key]))


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 8)):
        if data:
            data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randint(0, len(data)) :]


def _remove_slice(data: bytearray, chance: random.Random) -> None:
    start = _place(data, chance)
    del data[start : start + chance.randint(1, 64)]


def _repeat_slice(data: bytearray, chance: random.Random) -> None:
    start = _place(data, chance)
    place = _place(data, chance)
    data[place:place] = data[start : start + chance.randint(1, 256)]


def _overwrite_slice(data: bytearray, chance: random.Random) -> None:
    start, place, size = _place(data, chance), _place(data, chance), chance.randint(1, 64)
    data[place : place + size] = data[start : start + size]


def _put_number(data: bytearray, chance: random.Random) -> None:
    size, place = chance.choice((1, 2, 4, 8)), _place(data, chance)
    number = chance.choice(_NUMBERS) % 2 ** (8 * size)
    data[place : place + size] = number.to_bytes(size, chance.choice(('little', 'big')))


def _put_noise(data: bytearray, chance: random.Random) -> None:
    place, size = _place(data, chance), chance.randint(1, 16)
    data[place : place + size] = chance.randbytes(size)


def _place(data: bytearray, chance: random.Random) -> int:
    """Return a position: often in the head or the tail, where formats keep their lengths and offsets."""
    if not data:
        return 0
    where, near = chance.random(), min(len(data), 96)
    if where < 0.25:
        return chance.randrange(near)
    if where < 0.5:
        return len(data) - 1 - chance.randrange(near)
    return chance.randrange(len(data))


_BYTE_STEPS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _cut, _remove_slice, _repeat_slice, _overwrite_slice, _put_number, _put_number, _put_noise),
)
_VALUE_STEPS: tuple[Callable[[Any, Any, Any, random.Random], None], ...] = (
    *(_replace, _replace, _replace, _retype, _remove, _transplant, _rename_or_repeat),
)
