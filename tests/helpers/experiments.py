"""Whole experiments in processes of their own."""

import os
import subprocess
import sys

from tests.helpers.paths import ROOT, TINY


def train(street, work_dir, *options, kill_at=None, config=str(TINY), launcher=()):
    environment = {**os.environ, 'SSAL3D_KITTI': str(street), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    if kill_at:
        environment['SSAL3D_TEST_KILL_AT'] = kill_at
    script = 'tests/helpers/killer.py' if kill_at else 'tools/train.py'
    command = [*(launcher or [sys.executable]), script, config, '--work-dir', str(work_dir), *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def variant(path, *lines, sampler='EntropySampler'):
    """Write a config that changes the tiny experiment and return its path, for `train`."""
    base = f"_base_ = '{TINY}'"
    path.write_text('\n'.join((base, f"active_sampler = dict(_delete_=True, type='{sampler}')", *lines, '')))
    return str(path)
