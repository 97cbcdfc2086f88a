"""Ids and files that are there under another spelling are named."""

import pytest

from ssal3d.spelling import canonical, meant, meant_file


@pytest.mark.parametrize(
    ('one', 'other', 'same'),
    [
        ('7', '000007', True),
        ('000007.bin', '000007', True),
        ('Seq_01/0007', 'seq_1/7', True),
        ('scan_0', 'scan_000', True),
        ('70', '7', False),
        ('a7', 'b7', False),
        ('', '0', False),
    ],
)
def test_spellings_of_one_id_agree(one, other, same):
    assert (canonical(one) == canonical(other)) is same


def test_only_a_frame_that_is_there_is_meant():
    assert meant('3', ['000002', '000003']) == "; did you mean '000003'?"
    assert meant('4', ['000002', '000003']) == ''


def test_files_of_other_endings_are_meant_and_hidden_ones_are_not(tmp_path):
    wanted = tmp_path / '000007.bin'
    assert meant_file(wanted) == meant_file(tmp_path / 'nowhere' / '7.bin') == ''
    (tmp_path / '.000007.bin.12.tmp').touch()
    assert meant_file(wanted) == ''
    (tmp_path / '7.pcd').touch()
    assert meant_file(wanted) == '; did you mean 7.pcd?'
