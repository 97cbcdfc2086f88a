"""Bytes of protobuf messages and of CDR, put together from their public descriptions; no library writes here.

https://protobuf.dev/programming-guides/encoding and OMG's DDS-XTypes 1.3, 7.4.3 (plain CDR, version 1).
"""

import struct


def varint(number):
    result = bytearray()
    while number > 127:
        result.append(number & 127 | 128)
        number >>= 7
    return bytes((*result, number))


def number_field(field, value):
    return varint(field << 3) + varint(value)


def double_field(field, value):
    return varint(field << 3 | 1) + struct.pack('<d', value)


def fixed32_field(field, value):
    return varint(field << 3 | 5) + struct.pack('<I', value)


def bytes_field(field, content):
    """A field of text, bytes, a message or packed numbers."""
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


class Cdr:
    """A little-endian CDR stream behind its four bytes of encapsulation: every number at a multiple of its size."""

    def __init__(self):
        self.content = bytearray()

    def add(self, kind, *values):
        size = struct.calcsize('<' + kind)
        for value in values:
            self.content += b'\0' * (-len(self.content) % size) + struct.pack('<' + kind, value)
        return self

    def text(self, value):
        self.add('I', len(value) + 1)
        self.content += value.encode() + b'\0'
        return self

    def octets(self, value):
        self.add('I', len(value))
        self.content += value
        return self

    def message(self):
        return b'\0\1\0\0' + bytes(self.content)
