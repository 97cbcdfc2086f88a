"""The demo converts, then trains; what goes wrong in either is its own result, in one line."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

from ssal3d.fileio import write_json
from ssal3d.reproduce.experiments import settings_digest
from tests.helpers.experiment_folder import Data, write_experiment

ROOT = Path(__file__).parents[2]


def demo(*arguments):
    command = [sys.executable, 'tools/demo.py', *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_a_wrong_folder_is_told_in_one_line(tmp_path):
    for folder in ('', tmp_path):
        result = demo('--data', folder, '--work-dir', tmp_path / 'work')
        assert result.returncode == 2
        assert result.stderr.startswith('error: ')
        assert result.stderr.count('\n') == 1
        assert 'make demo DATA=' in result.stderr
        assert not (tmp_path / 'work').exists()


def test_the_data_is_converted_beside_the_run_and_only_read(street, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in street.rglob('*')}
    result = demo('--data', street, '--work-dir', tmp_path / 'work', '--config', 'no_such_config.py')
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith('error: no_such_config.py')
    assert json.loads((tmp_path / 'work' / 'data' / 'manifest.json').read_text())
    assert {path: path.stat().st_mtime_ns for path in street.rglob('*')} == before


def test_a_demo_that_ended_with_other_settings_is_not_shown_as_this_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    demo = importlib.import_module('demo')
    config = tmp_path / 'mine.py'
    config.write_text("_base_ = 'ssal3d::ssal/pillars_sim_demo.py'\n")
    wanted = {'config': str(config), 'options': [], 'data': None}
    assert not demo._is_done(tmp_path, wanted)
    write_json(tmp_path / 'demo.json', {'schema': 1, **wanted, 'settings': settings_digest(str(config))})
    assert demo._is_done(tmp_path, wanted)
    assert not demo._is_done(tmp_path, {**wanted, 'options': ['--cfg-options', 'budget=1']})
    config.write_text("_base_ = 'ssal3d::ssal/pillars_sim_demo.py'\nquery = dict(budget=7)\n")
    settings_digest.cache_clear()
    assert not demo._is_done(tmp_path, wanted)


def test_the_end_is_one_table_of_both_experiments(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    monkeypatch.setenv('COLUMNS', '200')
    data = Data(tmp_path / 'data')
    for name, gain in (('run', 2.0), ('rival', 3.0)):
        write_experiment(tmp_path / name, data, gain=gain, name=name)
    write_json(tmp_path / 'demo.json', {'schema': 1, 'folders': ['run', 'rival']})
    importlib.import_module('demo')._show(tmp_path)
    printed = capsys.readouterr().out
    (header,) = [line for line in printed.splitlines() if 'detector' in line]
    assert all(f'{name} {kind}' in header for name in (*data.classes, 'mean') for kind in ('BEV', '3D'))
    finals = [line for line in printed.splitlines() if 'final/supervised' in line]
    assert len(finals) == 2
    assert [('43.00' in line, '44.00' in line) for line in finals] == [(True, False), (False, True)]
    assert f'the page about it: {tmp_path / "report.html"}' in printed
