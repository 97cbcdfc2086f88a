"""Experiments side by side."""

import json
import os
import signal
import stat
import sys
import threading
import time

import pytest

from ssal3d.errors import UserError
from ssal3d.reproduce import read_rows
from ssal3d.reproduce.data_sets import DATA_SETS
from ssal3d.reproduce.experiments import Experiment, is_finished
from ssal3d.reproduce.jobs import Jobs

# Stands for `python -m ssal3d train CONFIG --work-dir FOLDER ...`: does the steps of the experiment that nobody did,
# and writes down each that it did itself.
TRAINING = """
import json, os, pathlib, sys, time
config, folder = pathlib.Path(sys.argv[4]), pathlib.Path(sys.argv[6])
if 'KECOR' in folder.name:
    sys.exit('no KECOR today')
work = pathlib.Path({work!r})
known = json.loads((work / 'steps.json').read_text())[str(folder)]
journal = dict(schema=1, steps=[])
for key, name in known.items():
    place = work / (folder.parent.name + ' ' + key).replace('/', '_')
    if not place.exists():
        time.sleep(0.05)
        with open(work / 'did', 'a') as file:
            file.write(folder.parent.name + ' ' + key + '\\n')
        place.touch()
    journal['steps'].append(dict(step=name, files=dict()))
    (folder / 'new').write_text(json.dumps(journal))
    (folder / 'new').rename(folder / 'journal.json')
    time.sleep(0.05)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run rows of Table 1 with stand-ins for trainings; return failed ones, what was done and what was told."""
    (tmp_path / 'training.py').write_text(TRAINING.format(work=str(tmp_path)))
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/training.py "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr('ssal3d.reproduce.jobs.sys.executable', str(python))
    monkeypatch.setattr('ssal3d.reproduce.jobs.PAUSE', 0.01)

    def go(numbers, seeds, at_once):
        experiments = [
            Experiment(row, seed, tmp_path / f'seed_{seed}' / row.experiment, DATA_SETS['sim'])
            for seed in seeds
            for row in read_rows('1', numbers)
        ]
        (tmp_path / 'steps.json').write_text(json.dumps({str(e.folder): e.steps for e in experiments}))
        told, ended = [], []
        failed = Jobs(experiments, lambda e: [], at_once, told.append, lambda: ended.append(1)).run()
        did = (tmp_path / 'did').read_text().splitlines() if (tmp_path / 'did').exists() else []
        assert len(ended) == len(experiments) - len(failed)
        return [experiment.row.number for experiment in failed], did, told

    return go


@pytest.mark.parametrize('at_once', [1, 2, 4])
def test_what_rows_share_is_done_once(run, at_once):
    failed, did, told = run((1, 2, 6, 7, 22), (0, 1), at_once)
    assert not failed
    assert len(did) == len(set(did)) == 2 * (1 + 1 + 2 * 3 + 5)
    assert sum(line.startswith('finished') for line in told) == 10


def test_two_seeds_run_side_by_side(run):
    _, _, told = run((1,), (0, 1), 2)
    assert [line.split(':')[0] for line in told] == ['started', 'started', 'finished', 'finished']


def test_a_failure_is_told_with_its_reason_and_the_others_go_on(run):
    failed, _, told = run((1, 5), (0,), 1)
    assert failed == [5]
    assert any('failed: Normal + KECOR + supervised, seed 0: no KECOR today' in line for line in told)
    assert sum(line.startswith('finished') for line in told) == 1


def test_a_plain_kill_ends_the_experiments_too(tmp_path, monkeypatch):
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\necho $$ > {tmp_path}/new\nmv {tmp_path}/new {tmp_path}/pid\nexec sleep 600\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr('ssal3d.reproduce.jobs.sys.executable', str(python))
    monkeypatch.setattr('ssal3d.reproduce.jobs.PAUSE', 0.01)
    experiments = [Experiment(row, 0, tmp_path / row.experiment, DATA_SETS['sim']) for row in read_rows('1', (1,))]
    with pytest.raises(UserError, match='--jobs: found 0, expected 1 or more'):
        Jobs(experiments, lambda e: [], 0, lambda line: None, lambda: None)
    jobs = Jobs(experiments, lambda e: [], 1, lambda line: None, lambda: None)

    def kill_when_it_runs():
        while not (tmp_path / 'pid').exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=kill_when_it_runs).start()
    with pytest.raises(SystemExit) as ended:
        jobs.run()
    assert ended.value.code == 128 + signal.SIGTERM
    (process, _, _) = jobs.running[experiments[0]]
    assert process.wait(timeout=20) == -signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_with_other_settings_that_fails_does_not_count_as_finished(run, tmp_path):
    (row,) = read_rows('1', [5])  # with KECOR, which fails
    made = Experiment(row, 0, tmp_path / 'seed_0' / row.experiment, DATA_SETS['sim'])
    made.folder.mkdir(parents=True)
    (made.folder / 'metrics.json').write_text('{}')
    made.config.write_text('# other settings, which were run to their end\n')
    failed, _, _ = run((5,), (0,), 1)
    assert failed == [5]
    assert made.config.read_text() == made.config_text()
    assert not is_finished(made)
