"""A folder is held by one process at a time, and no longer than the process lives."""

import os
import signal
import subprocess
import sys

import pytest

from ssal3d.errors import UserError
from ssal3d.fileio import exclusive

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
