"""Whole experiments in processes of their own."""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.helpers.paths import ROOT, TINY

MINUTES = 10


def train(street, work_dir, *options, kill_at=None, config=str(TINY), launcher=()):
    environment = {**os.environ, 'SSAL3D_KITTI': str(street), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    if kill_at:
        environment['SSAL3D_TEST_KILL_AT'] = kill_at
    script = 'tests/helpers/killer.py' if kill_at else 'tools/train.py'
    words = [config, '--work-dir', str(work_dir), *map(str, options)]
    if not launcher:
        return run_warm(script, words, environment)
    command = [*launcher, script, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60 * MINUTES)


def run_command(words, folder):
    """Run ``ssal3d <words>`` in a folder, as `run_warm` does."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    return run_warm(str(ROOT / 'tests' / 'helpers' / 'command.py'), list(map(str, words)), environment, folder)


def run_warm(script, arguments, environment, folder=ROOT):
    """Run a script of ours in a process that has imported everything, and return what `subprocess.run` would."""
    server = _server()
    with tempfile.TemporaryDirectory() as answers:
        out, err = (Path(answers) / name for name in ('out', 'err'))
        request = {'script': script, 'arguments': arguments, 'environment': environment, 'folder': str(folder)}
        server.stdin.write(json.dumps({**request, 'out': str(out), 'err': str(err)}) + '\n')
        server.stdin.flush()
        answer = server.stdout.readline() if _answers(server) else ''
        if not answer:
            os.killpg(server.pid, signal.SIGKILL)
            _server.cache_clear()
            raise subprocess.TimeoutExpired([script, *arguments], 60 * MINUTES)
        return subprocess.CompletedProcess([script, *arguments], int(answer), out.read_text(), err.read_text())


def _answers(server):
    with selectors.DefaultSelector() as selector:
        selector.register(server.stdout, selectors.EVENT_READ)
        return bool(selector.select(60 * MINUTES))


@cache
def _server():
    """Return the process that forks the runs; it ends with this one, which holds its standard input."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, 'tests/helpers/warm_server.py']
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def variant(path, *lines, sampler='EntropySampler'):
    """Write a config that changes the tiny experiment and return its path, for `train`."""
    base = f"_base_ = '{TINY}'"
    path.write_text('\n'.join((base, f"active_sampler = dict(_delete_=True, type='{sampler}')", *lines, '')))
    return str(path)
