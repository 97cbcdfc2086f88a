"""Files appear whole or not at all; a folder is held by one process at a time, and no longer than the process lives."""

import os
import signal
import subprocess
import sys

import pytest

from ssal3d.errors import UserError
from ssal3d.fileio import atomic_open, exclusive, refuse_inputs
from tests.helpers.paths import ROOT

HOLD = """
import os, sys, time
from ssal3d.fileio import exclusive
with exclusive(sys.argv[1], '--out'):
    if os.fork():
        print('held', flush=True)
    time.sleep(60)
"""


def test_a_folder_is_held_until_its_process_dies_even_if_its_children_live(tmp_path):
    command = [sys.executable, '-c', HOLD, str(tmp_path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert holder.stdout.readline() == 'held\n'
    with (
        pytest.raises(UserError, match='another run is writing here; wait for it or stop it'),
        exclusive(tmp_path, '--out'),
    ):
        pass
    holder.kill()
    holder.wait()
    for _ in range(2):
        with exclusive(tmp_path, '--out'):
            pass
    os.killpg(holder.pid, signal.SIGKILL)  # its child


def test_a_folder_that_cannot_be_written_is_told_with_the_option(tmp_path):
    (tmp_path / 'file').touch()
    with (
        pytest.raises(UserError, match=r'file: cannot write here .* choose another folder with --out$'),
        exclusive(tmp_path / 'file', '--out'),
    ):
        pass


@pytest.mark.parametrize('mode', ['wb', 'w'])
def test_a_file_appears_whole_or_not_at_all(tmp_path, mode):
    path, (old, new) = tmp_path / 'deep' / 'state', ((b'old', b'new') if mode == 'wb' else ('old', 'new'))
    with atomic_open(path, mode) as file:
        file.write(old)

    def broken():
        with atomic_open(path, mode) as file:
            file.write(new)
            file.flush()
            assert path.read_text() == 'old'
            raise OSError('no space left on device')

    with pytest.raises(OSError, match='no space'):
        broken()
    assert path.read_text() == 'old'
    with atomic_open(path, mode) as file:
        file.write(new)
    assert path.read_text() == 'new'
    assert [child.name for child in path.parent.iterdir()] == ['state']


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(b'old')
    code = (
        'import os, signal, sys\n'
        'from ssal3d.fileio import atomic_open\n'
        f'with atomic_open({str(path)!r}) as file:\n'
        '    file.write(b"new" * 10**6); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    assert subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=ROOT).returncode == -9
    assert path.read_bytes() == b'old'


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    import errno
    import os

    from ssal3d.errors import UserError
    from ssal3d.fileio import write_json

    (tmp_path / 'file').write_text('old')
    with pytest.raises(UserError, match=r'file/x\.json: cannot be written \(.*\); a folder was expected'):
        write_json(tmp_path / 'file' / 'x.json', {})
    (tmp_path / 'folder').mkdir()
    with pytest.raises(UserError, match=r'folder: cannot be written \(Is a directory\); a file was expected'):
        write_json(tmp_path / 'folder', {})

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(UserError, match=r'file: cannot be written \(No space left on device\); make room'):
        write_json(tmp_path / 'file', {})
    assert (tmp_path / 'file').read_text() == 'old'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'folder']


def test_errors_of_other_files_are_not_taken_for_the_written_ones(tmp_path):
    from pathlib import Path

    from ssal3d.fileio import atomic_path

    with pytest.raises(NotADirectoryError), atomic_path(tmp_path / 'out'):
        Path('/dev/null/x').read_text()


def test_what_killed_runs_left_goes_and_nothing_else(tmp_path):
    from ssal3d.fileio import remove_leftovers

    (tmp_path / 'deep' / '.gen-000001.7.tmp').mkdir(parents=True)
    for name in ('.x.json.5.tmp', 'x.json', '.lock', 'x.tmp', 'deep/.y.json.6.tmp', 'deep/.gen-000001.7.tmp/a.npy'):
        (tmp_path / name).write_text('')
    remove_leftovers(tmp_path)
    assert not (tmp_path / '.x.json.5.tmp').exists()
    assert (tmp_path / 'deep' / '.y.json.6.tmp').exists()
    remove_leftovers(tmp_path, deep=True)
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['.lock', 'deep', 'x.json', 'x.tmp']


def test_what_a_command_reads_is_not_written_over_by_whatever_name(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'in.json')
    refuse_inputs(tmp_path / 'out.json', tmp_path / 'in.json', tmp_path)
    for out in ('in.json', 'link', 'folder/../in.json'):
        with pytest.raises(UserError, match='is an input of this command; give another --out'):
            refuse_inputs(tmp_path / out, tmp_path / 'other.json', tmp_path / 'in.json')
