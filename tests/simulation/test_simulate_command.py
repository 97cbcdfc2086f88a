import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssal3d.data.kitti_format import png_size
from tests.helpers.simulation_files import SEED

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def main():
    specification = importlib.util.spec_from_file_location('simulate_tool', ROOT / 'tools' / 'simulate.py')
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.main


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / 'tools' / 'simulate.py', *map(str, arguments)],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_it_simulates_and_says_what_it_did(tmp_path):
    result = run('--out', tmp_path, '--frames', 4, '--seed', SEED, '--workers', 1, '--val-share', 0.25, '--no-planes')
    assert result.returncode == 0, result.stderr
    assert 'simulating: 4/4' in result.stdout
    row = next(line for line in result.stdout.splitlines() if 'trainval' in line).replace('│', ' ').split()
    assert row[:2] == ['trainval', '4']
    assert 'Car' in result.stdout
    assert not (tmp_path / 'training' / 'planes').exists()


def test_a_validation_split_that_whole_sequences_cannot_fill_is_told(main, tmp_path, monkeypatch, capsys):
    totals = {'frames': 4, 'sequences': 1, 'points': 9, 'objects': {}}
    summary = {'preset': 'kitti', 'seed': 0, 'splits': {'train': totals, 'trainval': totals}}
    monkeypatch.setattr('ssal3d.simulation.writer.simulate_kitti', lambda *words, **options: summary)
    monkeypatch.setattr(sys, 'argv', ['simulate.py', '--out', str(tmp_path), '--frames', '4', '--val', '2'])
    with pytest.raises(SystemExit, match='0'):
        main()
    assert 'the validation split holds 0 frames, 2 were asked for' in capsys.readouterr().out


def test_it_draws_a_frame(tmp_path):
    result = run('--picture', tmp_path / 'frame.png', '--frame', 2, '--preset', '128-beam')
    assert result.returncode == 0, result.stderr
    width, height = png_size(tmp_path / 'frame.png')
    assert width > 500 < height


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--frames', 0, '--out', '{tmp}/new'), 'frames: found 0'),
        (('--frames', 3), '--out is missing'),
        (('--frames', 3, '--out', '{tmp}/new', '--val-share', 1.5), '--val-share: found 1.5'),
        (('--frames', 3, '--out', '{tmp}/new', '--preset', '64'), "unknown preset '64'"),
        (('--frames', 3, '--out', '{sim}', '--seed', 99), 'found seed 7, expected 99'),
        (('--frames', 3, '--out', '{sim}', '--seed', 7, '--preset', '32-beam'), "found preset 'kitti'"),
        (('--frames', 3, '--out', '{sim}', '--seed', 7, '--no-planes'), 'found planes True'),
        (('--frames', 3, '--out', '/proc/simulation'), 'cannot write here'),
        (('--picture', '{tmp}/a.png', '--frame', -1), 'expected numbers >= 0'),
        (('--picture', '{tmp}/a.docx'), 'docx'),
        (('--picture', '/proc/none/a.png'), 'cannot write here'),
        (('--report', '{tmp}/r.png', '--out', '{sim}'), '--real is missing'),
        (('--report', '{tmp}/r.png', '--out', '{sim}', '--real', '{tmp}'), 'trainval.txt: no such file'),
    ],
)
def test_mistakes_are_one_line_and_exit_2(main, simulated, tmp_path, arguments, message, monkeypatch, capsys):
    names = {'tmp': tmp_path, 'sim': simulated}
    monkeypatch.setattr(sys, 'argv', ['simulate.py', *(str(argument).format(**names) for argument in arguments)])
    with pytest.raises(SystemExit) as ending:
        main()
    stderr = capsys.readouterr().err
    assert ending.value.code == 2
    assert message in stderr
    assert len(stderr.strip().splitlines()) == 1


def test_other_scans_are_not_overwritten(tmp_path):
    (tmp_path / 'training' / 'velodyne').mkdir(parents=True)
    result = run('--frames', 3, '--out', tmp_path)
    assert result.returncode == 2
    assert 'holds scans that are no simulation' in result.stderr
