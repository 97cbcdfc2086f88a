"""The header of a PCD file, checked before a library allocates what it promises (https://pointclouds.org, PCD 0.7)."""

import struct
from collections.abc import Mapping
from pathlib import Path

_HEADER = 8192  # bytes in which a header ends
_LISTS = ('FIELDS', 'SIZE', 'TYPE', 'COUNT')
_SIZES = {'I': (1, 2, 4, 8), 'U': (1, 2, 4, 8), 'F': (4, 8)}
_MOST_VALUES = 4096  # of one field in a point
_GREATEST_RATIO = 300  # of LZF: a run of 264 equal bytes takes three
_KINDS = ('ascii', 'binary', 'binary_compressed')


def check_header(path: Path) -> int:
    """Check that the header of a PCD file agrees with itself and with the size of the file.

    Returns:
        The number of points.

    Raises:
        ValueError: If it does not.
    """
    with open(path, 'rb') as file:
        start = file.read(_HEADER)
        lines, end = _lines(start)
        points, stride = _layout(lines)
        rest = path.stat().st_size - end
        kind = ' '.join(lines['DATA'])
        if kind == 'binary' and points * stride > rest:
            raise ValueError(f'found {rest} bytes behind the header, expected {points * stride}; the file is cut')
        if kind == 'ascii' and 2 * points > rest + 1:
            raise ValueError(f'found {rest} bytes behind the header for {points} points; the file is cut')
        if kind == 'binary_compressed':
            file.seek(end)
            head = file.read(8)
            packed, unpacked = struct.unpack('<II', head) if len(head) == 8 else (0, 0)
            if unpacked != points * stride or packed > rest - 8 or unpacked > _GREATEST_RATIO * packed:
                raise ValueError(f'found {packed} bytes that unpack to {unpacked}, expected {points * stride}')
    return points


def _lines(start: bytes) -> tuple[Mapping[str, list[str]], int]:
    """Return the words of each line of the header by its first word, and where the points begin."""
    lines: dict[str, list[str]] = {}
    end = 0
    while 'DATA' not in lines:
        stop = start.find(b'\n', end)
        if stop < 0:
            raise ValueError('the header has no line DATA')
        words = start[end:stop].decode('ascii', 'replace').split()
        end = stop + 1
        if words and not words[0].startswith('#'):
            lines[words[0]] = words[1:]
    if ' '.join(lines['DATA']) not in _KINDS:
        raise ValueError(f'found DATA {" ".join(lines["DATA"])}, expected one of {", ".join(_KINDS)}')
    return lines, end


def _layout(lines: Mapping[str, list[str]]) -> tuple[int, int]:
    """Return the number of points and the bytes of one."""
    count = lines.get('COUNT') or ['1'] * len(lines.get('FIELDS', ()))
    columns = [lines.get('FIELDS', []), lines.get('SIZE', []), lines.get('TYPE', []), count]
    if not columns[0] or len(set(map(len, columns))) > 1:
        raise ValueError(f'expected as many values in {", ".join(_LISTS)}')
    stride = 0
    for _, size, kind, values in zip(*columns, strict=True):
        if int(size) not in _SIZES.get(kind, ()) or not 0 < int(values) <= _MOST_VALUES:
            raise ValueError(f'found a field of SIZE {size}, TYPE {kind}, COUNT {values}, expected numbers')
        stride += int(size) * int(values)
    points, width, height = (int((lines.get(name) or ['0'])[0]) for name in ('POINTS', 'WIDTH', 'HEIGHT'))
    if points < 0 or points != width * height:
        raise ValueError(f'found {points} POINTS, expected WIDTH x HEIGHT, {width} x {height}')
    return points, stride
