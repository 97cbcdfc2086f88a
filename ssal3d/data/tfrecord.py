"""TFRecord files without TensorFlow: records with their length and checksums, one after the other.

A record is its length (uint64), the masked CRC-32C of the length (uint32), its bytes, and their masked CRC-32C
(uint32), all little-endian.
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from ssal3d.errors import UserError

_HEAD, _FOOT = struct.Struct('<QI'), struct.Struct('<I')
_MASK = 0xA282EAD8


def read_records(path: str | Path, wanted: Callable[[int], bool] = lambda number: True) -> Iterator[tuple[int, bytes]]:
    """Yield the wanted records of a file; the others are stepped over without reading them.

    Args:
        path: A TFRecord file.
        wanted: Whether to read the record of a number, counted from 0.

    Yields:
        Number and bytes; one record is in memory at a time.

    Raises:
        UserError: If the file is missing, ends inside a record, or a checksum is wrong.
    """
    try:
        size = os.stat(path).st_size
        with open(path, 'rb') as file:
            position, number = 0, 0
            while position < size:
                length = _length(file.read(_HEAD.size), path, number)
                position += _HEAD.size + length + _FOOT.size
                if position > size:
                    raise UserError(
                        f'{path}: ends inside record {number}: found {size} bytes, expected at least {position}; the '
                        'download was cut, fetch the file again'
                    )
                if wanted(number):
                    content = file.read(length)
                    if masked_crc(content) != _FOOT.unpack(file.read(_FOOT.size))[0]:
                        raise UserError(f'{path}: record {number} has a wrong checksum; fetch the file again')
                    yield number, content
                else:
                    file.seek(position)
                number += 1
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); check the path') from None


def masked_crc(content: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes, rotated and offset as TFRecord files hold it."""
    import google_crc32c

    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _length(head: bytes, path: str | Path, number: int) -> int:
    """Return the length of a record's content from what stands before it."""
    if len(head) == _HEAD.size:
        length, crc = _HEAD.unpack(head)
        if masked_crc(head[:8]) == crc:
            return length
    raise UserError(
        f'{path}: no TFRecord at record {number} (the checksum of its length is wrong); the file is damaged, compressed or '
        'of another format; fetch it again'
    )
