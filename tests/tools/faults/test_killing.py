"""Faults on purpose: each write is hit once, and what ends differently is noticed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ssal3d.data.label_state import LabelState
from ssal3d.fileio import write_json
from tests.helpers.paths import ROOT
from tools.faults import killing
from tools.faults.same_end import differences

# What a resumed run does: it writes what is missing, in order.
WORK = """
import sys
from pathlib import Path
from ssal3d.errors import command
from ssal3d.fileio import write_json

@command
def main():
    for name in ('journal.json', 'labels/round_0.json', 'round_1/query.json'):
        path = Path(sys.argv[1]) / name
        if not path.exists():
            write_json(path, {'schema': 1, 'steps': []})

main()
"""


@pytest.fixture
def faulty(tmp_path):
    """A function that runs the work with a fault and returns how it ended."""
    (tmp_path / 'work.py').write_text(WORK)
    work_dir, ledger = tmp_path / 'run', tmp_path / 'ledger'

    def run(mode, **more):
        told = {
            'mode': mode,
            'work_dir': str(work_dir),
            'ledger': str(ledger),
            'script': str(tmp_path / 'work.py'),
            **more,
        }
        environment = {**os.environ, 'SSAL3D_FAULT': json.dumps(told), 'PYTHONPATH': str(ROOT)}
        command = [sys.executable, 'tools/faults/killed_run.py', str(work_dir)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    run.work_dir, run.ledger = work_dir, ledger
    return run


def test_each_write_is_killed_before_and_after_once(faulty):
    codes = [faulty('writes').returncode for _ in range(7)]
    assert codes == [-signal.SIGKILL] * 6 + [0]
    hits = [line.split('\t') for line in faulty.ledger.read_text().splitlines()]
    assert [(kind, phase) for kind, phase, _ in hits] == [
        (kind, phase) for kind in ('journal', 'labels', 'query') for phase in ('before', 'after')
    ]


def test_a_folder_that_cannot_be_written_is_told_in_one_line(faulty, tmp_path):
    result = faulty('read-only', forbidden=str(tmp_path / 'forbidden'))
    Path((tmp_path / 'forbidden').read_text()).chmod(0o755)
    assert killing.refused_badly(result) == ''
    assert 'journal.json: cannot be written (Permission denied); change the permissions' in result.stderr


def test_each_folder_is_closed_once_before_a_file_is_written(faulty, tmp_path):
    written = []
    for _ in range(4):
        code = faulty('read-only', forbidden=str(tmp_path / 'forbidden')).returncode
        if (tmp_path / 'forbidden').exists():
            Path((tmp_path / 'forbidden').read_text()).chmod(0o755)
            (tmp_path / 'forbidden').unlink()
        written.append((code, sorted(path.name for path in faulty.work_dir.rglob('*.json'))))
    names = ['journal.json', 'query.json', 'round_0.json']
    assert written == [(2, []), (2, names[:1]), (2, [names[0], names[2]]), (0, names)]


def test_one_fault_is_enough_for_files_whose_names_differ_by_a_number(faulty, tmp_path):
    (tmp_path / 'work.py').write_text(WORK.replace('round_1/query.json', 'labels/round_1.json'))
    assert [faulty('writes', thin=True).returncode for _ in range(5)] == [-signal.SIGKILL] * 4 + [0]


def test_a_kill_after_a_time_is_a_kill(faulty):
    assert faulty('seconds', seconds=0.0).returncode == -signal.SIGKILL
    assert faulty('seconds', seconds=60).returncode == 0


@pytest.mark.parametrize(
    ('kind', 'code', 'errors', 'problem'),
    [
        ('bank', 2, 'error: x.json: cannot be written', ''),
        ('bank', 0, '', 'exit 0'),
        ('bank', 0, 'no page was written', 'exit 0'),
        ('bank', 1, 'Traceback ...', 'exit 1'),
        ('bank', 2, 'x', 'no single'),
        ('report', 0, 'no page was written (No space left on device)', ''),
        ('report', 0, '', 'exit 0'),
        ('report', 2, 'no page was written', 'exit 2'),
    ],
)
def test_how_a_refused_run_ends_is_judged(kind, code, errors, problem):
    found = killing.refused_badly(subprocess.CompletedProcess([], code, '', errors), kind)
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


@pytest.fixture
def two(tmp_path):
    """Two experiments that ended alike."""
    for name in ('one', 'other'):
        folder = tmp_path / name
        write_json(folder / 'journal.json', {'schema': 1, 'steps': [{'step': 'initial', 'files': {}}]})
        LabelState.empty(['Car'], 'train', ['a']).buy(0, [('a', {'Car': 1})]).write(folder / 'labels' / 'round_0.json')
        (folder / 'final').mkdir()
        torch.save({'state_dict': {'a': torch.ones(2)}}, folder / 'final' / 'epoch_1.pth')
        (folder / 'bank' / 'gen-000001').mkdir(parents=True)
        (folder / 'bank' / 'CURRENT').write_text('gen-000001\n')
        np.save(folder / 'bank' / 'gen-000001' / 'points.npy', np.ones(3))
    return tmp_path / 'one', tmp_path / 'other'


def change_labels(folder):
    LabelState.empty(['Car'], 'train', ['a']).write(folder / 'labels' / 'round_0.json')


CHANGES = {
    'steps': lambda at: write_json(at / 'journal.json', {'schema': 1, 'steps': []}),
    'other labelled frames': change_labels,
    'other weights': lambda at: torch.save({'state_dict': {'a': torch.zeros(2)}}, at / 'final' / 'epoch_1.pth'),
    'epoch_1.pth is missing': lambda at: (at / 'final' / 'epoch_1.pth').unlink(),
    'another generation': lambda at: (at / 'bank' / 'CURRENT').write_text('gen-000002\n'),
    'points.npy differs': lambda at: np.save(at / 'bank' / 'gen-000001' / 'points.npy', np.zeros(3)),
    'left over': lambda at: (at / 'final' / '.x.json.1.tmp').write_text(''),
}


@pytest.mark.parametrize('problem', CHANGES)
def test_experiments_that_ended_differently_are_told_apart(two, problem):
    assert differences(*two) == []
    CHANGES[problem](two[0])
    (found,) = differences(*two)
    assert problem in found
