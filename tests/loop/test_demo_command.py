"""The demo converts, then trains; what goes wrong in either is its own result, in one line."""

import json
import subprocess
import sys
from pathlib import Path

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
