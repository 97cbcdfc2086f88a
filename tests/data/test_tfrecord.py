"""TFRecord files, written here byte by byte."""

import pytest

from ssal3d.data.tfrecord import masked_crc, read_records
from ssal3d.errors import UserError
from tests.helpers.waymo_wire import crc32c, tfrecord

RECORDS = [b'first', b'', b'\x00\xff' * 300, b'last']


@pytest.fixture
def path(tmp_path):
    (tmp_path / 'a.tfrecord').write_bytes(tfrecord(RECORDS))
    return tmp_path / 'a.tfrecord'


def test_checksums_are_castagnolis():
    assert crc32c(b'123456789') == 0xE3069283  # the check value of CRC-32C's definition
    assert masked_crc(b'123456789') == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_records_come_in_order(path):
    assert list(read_records(path)) == list(enumerate(RECORDS))


def test_unwanted_records_are_stepped_over_unread(path):
    content = bytearray(path.read_bytes())
    content[12] ^= 1  # damages the first record, which nobody wants
    path.write_bytes(content)
    assert list(read_records(path, lambda number: number % 2 == 1)) == [(1, b''), (3, b'last')]


def test_an_empty_file_holds_nothing(tmp_path):
    (tmp_path / 'empty').touch()
    assert list(read_records(tmp_path / 'empty')) == []


@pytest.mark.parametrize(
    ('position', 'message'),
    [(3, 'no TFRecord at record 0'), (9, 'no TFRecord at record 0'), (14, 'record 0 has a wrong checksum')],
)
def test_a_changed_byte_is_found(path, position, message):
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf'a\.tfrecord: {message}'):
        list(read_records(path))


@pytest.mark.parametrize('left_out', [1, 4, 5, 18])
def test_a_cut_file_is_found_before_the_cut_record_is_used(path, left_out):
    path.write_bytes(path.read_bytes()[:-left_out])
    read = []
    with pytest.raises(UserError, match=r'a\.tfrecord: (ends inside record 3|no TFRecord at record 3)'):
        read.extend(number for number, _ in read_records(path, lambda number: number > 2))
    assert read == []


def test_another_format_and_a_missing_file_are_user_errors(tmp_path):
    (tmp_path / 'a.zip').write_bytes(b'PK\x03\x04' + bytes(60))
    with pytest.raises(UserError, match=r'a\.zip: no TFRecord at record 0'):
        list(read_records(tmp_path / 'a.zip'))
    with pytest.raises(UserError, match=r'none: cannot be read \(No such file'):
        list(read_records(tmp_path / 'none'))
