"""Parsing of many plain KITTI files at once, in one compiled pass over their bytes.

What is not plain, such as a number of 17 digits, is left to Python; what is wrong is left to the slow parser of
`ssal3d.data.kitti_objects`, which knows how to say so.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.ops.kernel import kernel

NUMBERS = 15  # a line has a name, 14 numbers, and perhaps a score
_TAB, _NEWLINE, _RETURN, _SPACE = b'\t\n\r '
_PLUS, _MINUS, _POINT, _ZERO, _E, _SMALL_E = b'+-.0Ee'
_EXACT_POWERS = np.array([float(f'1e{exponent}') for exponent in range(23)])  # all powers of ten that a float64 holds
_LARGEST = 2**53  # up to it, a float64 holds every whole number
_NOT_PLAIN = -1


class Lines(NamedTuple):
    """The lines of F files, blank ones left out.

    Attributes:
        names: ``(N,)`` first field of every line.
        numbers: ``(N, 15)`` its other fields, NaN where it has no score.
        offsets: ``(F + 1,)`` file ``f`` owns the rows ``offsets[f]:offsets[f + 1]``.
    """

    names: NDArray[np.str_]
    numbers: NDArray[np.float64]
    offsets: NDArray[np.int64]


def parse_plain(texts: Sequence[str], allowed: Sequence[int]) -> Lines | None:
    """Parse texts of which every line has a name and finite numbers; these are rounded as by `float`.

    Args:
        texts: The content of F files.
        allowed: Numbers of fields a line may have.

    Returns:
        The lines; None if there are characters beyond ASCII, a line has another number of fields or something else than
        a finite number in it.
    """
    joined = '\n'.join(texts)
    if not joined.isascii():
        return None
    ends = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64) - 1
    content = joined.encode()
    room = content.count(b'\n') + content.count(b'\r') + 1
    numbers, names = np.full((room, NUMBERS), np.nan), np.empty((room, 2), dtype=np.int64)
    offsets, left = np.zeros(len(texts) + 1, dtype=np.int64), np.empty((room * NUMBERS, 4), dtype=np.int64)
    widths = np.isin(np.arange(NUMBERS + 2), allowed)
    count = _parse(np.frombuffer(content, dtype=np.uint8), ends, widths, names, numbers, left, offsets)
    if count == _NOT_PLAIN:
        return None
    rows_left, columns_left, *spans = left[:count].T
    try:
        values = [float(content[start:stop]) for start, stop in zip(*spans, strict=True)]
    except ValueError:
        return None
    if not np.isfinite(values).all():
        return None
    numbers[rows_left, columns_left] = values
    rows = offsets[-1]
    return Lines(_strings(content, names[:rows]), numbers[:rows], offsets)


def _strings(content: bytes, spans: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return the texts between start and stop, given as rows of ``(N, 2)``."""
    lengths = spans[:, 1] - spans[:, 0]
    columns = np.arange(lengths.max(initial=1))
    codes = np.frombuffer(content + bytes(len(columns)), dtype=np.uint8)[spans[:, :1] + columns]
    codes[columns >= lengths[:, None]] = 0
    return codes.astype(np.uint32).view(f'U{len(columns)}')[:, 0]


@kernel
def _parse(
    text: NDArray[np.uint8],
    ends: NDArray[np.int64],
    widths: NDArray[np.bool_],
    names: NDArray[np.int64],
    numbers: NDArray[np.float64],
    left: NDArray[np.int64],
    offsets: NDArray[np.int64],
) -> int:
    """Write names, numbers and offsets; return how many fields are left to Python, or `_NOT_PLAIN`.

    A field that is left is a row of ``left``: its row and column in ``numbers``, its start and stop in the text.
    """
    at, row, count = 0, 0, 0
    for file in range(ends.size):
        while at < ends[file]:
            fields = 0
            while at < ends[file] and text[at] != _NEWLINE and text[at] != _RETURN:
                start = at
                while at < ends[file] and text[at] > _SPACE:
                    at += 1
                if at == start:  # a character between fields
                    if text[at] != _SPACE and text[at] != _TAB:
                        return _NOT_PLAIN
                    at += 1
                    continue
                if fields == 0:
                    names[row, 0], names[row, 1] = start, at
                elif fields <= NUMBERS:
                    numbers[row, fields - 1], exact = _number(text, start, at)
                    if not exact:
                        left[count, 0], left[count, 1], left[count, 2], left[count, 3] = row, fields - 1, start, at
                        count += 1
                fields += 1
            at += 1
            if fields > 0:
                if fields >= widths.size or not widths[fields]:
                    return _NOT_PLAIN
                row += 1
        at = ends[file] + 1
        offsets[file + 1] = row
    return count


@kernel
def _number(text: NDArray[np.uint8], start: int, stop: int) -> tuple[float, bool]:
    """Return a number and whether it is that of `float`: of exact whole number and power of ten, rounded once."""
    at = start
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += 1
    whole, digits, decimals, point = 0, 0, 0, False
    while at < stop and (_is_digit(text[at]) or (text[at] == _POINT and not point)):
        if text[at] == _POINT:
            point = True
        else:
            whole = 10 * whole + (text[at] - _ZERO)
            if whole > _LARGEST:
                return 0.0, False
            digits += 1
            decimals += point
        at += 1
    exponent, at = _exponent(text, at, stop)
    exponent -= decimals
    if digits == 0 or at < stop or abs(exponent) >= _EXACT_POWERS.size:
        return 0.0, False
    value = whole * _EXACT_POWERS[exponent] if exponent >= 0 else whole / _EXACT_POWERS[-exponent]
    return -value if negative else value, True


@kernel
def _exponent(text: NDArray[np.uint8], at: int, stop: int) -> tuple[int, int]:
    """Return the exponent of ten that begins at a place of the text, 0 if none does, and where the number goes on."""
    if at + 1 >= stop or (text[at] != _E and text[at] != _SMALL_E):
        return 0, at
    at += 1
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += 1
    if at == stop:
        return 0, at - 1
    exponent = 0
    while at < stop and _is_digit(text[at]) and exponent < _LARGEST:
        exponent = 10 * exponent + (text[at] - _ZERO)
        at += 1
    return -exponent if negative else exponent, at


@kernel
def _is_digit(character: int) -> bool:
    return _ZERO <= character < _ZERO + 10


def _warm_up() -> None:
    parse_plain(['Car 0 0 0 0 0 0 0 0 0 0 0 0 0 0', ''], (15, 16))
