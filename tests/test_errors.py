"""Errors of the operating system, of files and of loader processes end in one line."""

import errno
import os

import pytest
from torch.utils.data import DataLoader, Dataset

from ssal3d.errors import UserError, command, own_text


def ended(main, capsys):
    with pytest.raises(SystemExit) as end:
        command(main)()
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'x/a.bin'), 'x/a.bin: No space left on device; make room'),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), 'x'), 'x: Read-only file system; choose a folder'),
        (PermissionError(errno.EACCES, 'Permission denied', 'x'), 'x: Permission denied; change the permissions'),
        (FileNotFoundError(errno.ENOENT, 'No such file or directory', 'x'), 'x: No such file or directory; check the'),
        (FileNotFoundError('x can not be found.'), 'x can not be found.'),
        (UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'invalid start byte'), 'not UTF-8'),
    ],
)
def test_an_error_of_a_file_is_one_line_and_the_users(error, said, capsys):
    def main():
        raise error

    code, text = ended(main, capsys)
    assert code == 2
    assert said in text
    assert text.startswith('error: ')
    assert text.count('\n') == 1


def test_a_bug_keeps_its_traceback():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command(main)()


class Broken(Dataset):
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise self.error


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (
            UserError('a.txt, frame 000003: found Error: 7, expected 3'),
            'a.txt, frame 000003: found Error: 7, expected 3',
        ),
        (FileNotFoundError(errno.ENOENT, 'No such file', 'scan.bin'), "[Errno 2] No such file: 'scan.bin'"),
    ],
)
def test_an_error_in_a_loaders_process_shows_its_own_text(error, said, capsys):
    def main():
        next(iter(DataLoader(Broken(error), num_workers=1)))

    assert ended(main, capsys) == (2, f'error: {said}\n')


def test_other_texts_stay_as_they_are():
    for text in (
        '',
        'a: b',
        'Caught in the act',
        'Caught UserError in DataLoader worker process 0.\nOriginal Traceback',
    ):
        assert own_text(text) == text
