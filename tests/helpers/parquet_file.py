"""A Parquet file byte by byte: one row group, a plain, uncompressed page for each column; no library writes here.

https://parquet.apache.org/docs/file-format and the compact protocol of Thrift. A column is a list of numbers, of texts,
or of lists of numbers, of a physical type. All values are there; a list may be empty.
"""

import struct
from itertools import groupby

from tests.helpers.wire import varint

INT32, INT64, FLOAT, DOUBLE, TEXT = 1, 2, 4, 5, 6  # physical types; TEXT is BYTE_ARRAY
_FORMAT = {INT32: 'i', INT64: 'q', FLOAT: 'f', DOUBLE: 'd'}
_REQUIRED, _REPEATED, _UTF8, _LIST, _PLAIN, _RLE, _UNCOMPRESSED = 0, 2, 0, 3, 0, 3, 0
_I32, _I64, _BINARY, _SEQUENCE, _STRUCT = 5, 6, 8, 9, 12  # types of Thrift's compact protocol
MAGIC = b'PAR1'


def parquet_file(columns):
    """The bytes of a file.

    Args:
        columns: Physical type and values by name.
    """
    rows = {len(values) for _, values in columns.values()}
    assert len(rows) == 1
    body, schema, chunks = bytearray(MAGIC), [_element('schema', children=len(columns))], []
    for name, (kind, values) in columns.items():
        is_list = isinstance(values[0], list)
        if is_list:
            schema.append(_element(name, _REQUIRED, children=1, converted=_LIST))
            schema.append(_element('list', _REPEATED, children=1))
        schema.append(
            _element('element' if is_list else name, _REQUIRED, kind, converted=_UTF8 if kind == TEXT else None)
        )
        path = [name, 'list', 'element'] if is_list else [name]
        chunks.append(_column(body, kind, path, values))
    group = _struct((1, _SEQUENCE, chunks), (2, _I64, len(body)), (3, _I64, rows.copy().pop()))
    footer = _struct((1, _I32, 1), (2, _SEQUENCE, schema), (3, _I64, rows.pop()), (4, _SEQUENCE, [group]))
    return bytes(body) + footer + struct.pack('<I', len(footer)) + MAGIC


def _column(body, kind, path, values):
    """Append the page of a column and return its description."""
    flat = [number for entry in values for number in entry] if len(path) > 1 else values
    levels = b''
    count = len(flat)
    if len(path) > 1:  # a number begins a row (0) or goes on with it (1); a row without numbers is not defined (0)
        repeated = [int(k > 0) for entry in values for k in range(max(1, len(entry)))]
        defined = [int(bool(entry)) for entry in values for _ in range(max(1, len(entry)))]
        levels, count = _runs(repeated) + _runs(defined), len(defined)
    data = levels + b''.join(_plain(kind, value) for value in flat)
    header = _struct((1, _I32, count), (2, _I32, _PLAIN), (3, _I32, _RLE), (4, _I32, _RLE))
    page = _struct((1, _I32, 0), (2, _I32, len(data)), (3, _I32, len(data)), (5, _STRUCT, header)) + data
    start = len(body)
    body += page
    facts = _struct(
        (1, _I32, kind),
        (2, _SEQUENCE, [_PLAIN, _RLE]),
        (3, _SEQUENCE, path),
        (4, _I32, _UNCOMPRESSED),
        (5, _I64, count),
        (6, _I64, len(page)),
        (7, _I64, len(page)),
        (9, _I64, start),
    )
    return _struct((2, _I64, start), (3, _STRUCT, facts))


def _element(name, repetition=None, kind=None, children=None, converted=None):
    fields = [(1, _I32, kind), (3, _I32, repetition), (4, _BINARY, name), (5, _I32, children), (6, _I32, converted)]
    return _struct(*(field for field in fields if field[2] is not None))


def _plain(kind, value):
    if kind == TEXT:
        return struct.pack('<I', len(value)) + value.encode()
    return struct.pack('<' + _FORMAT[kind], value)


def _runs(levels):
    """Levels of 0 and 1 as runs of equal ones, behind the length of the whole."""
    content = b''.join(varint(len(list(run)) << 1) + bytes((level,)) for level, run in groupby(levels))
    return struct.pack('<I', len(content)) + content


def _struct(*fields):
    result, before = b'', 0
    for number, kind, value in fields:
        result += bytes(((number - before) << 4 | kind,)) + _value(kind, value)
        before = number
    return result + b'\0'


def _value(kind, value):
    if kind in (_I32, _I64):
        return varint(value << 1)  # zigzag; nothing is negative here
    if kind == _BINARY:
        return varint(len(value.encode())) + value.encode()
    if kind == _STRUCT:
        return value
    inner = {int: _I32, str: _BINARY, bytes: _STRUCT}[type(value[0])]
    head = bytes((len(value) << 4 | inner,)) if len(value) < 15 else bytes((0xF0 | inner,)) + varint(len(value))
    return head + b''.join(_value(inner, entry) for entry in value)
