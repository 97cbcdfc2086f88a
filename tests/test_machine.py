"""What records of runs say about where, and with which version, something ran."""

import subprocess

from ssal3d import machine
from ssal3d.version import __version__
from tests.helpers.paths import ROOT


def test_the_version_has_the_commit_in_a_repository_of_ours_and_no_other(tmp_path, monkeypatch):
    if (ROOT / '.git').exists():
        commit = subprocess.run(
            ['git', '-C', ROOT, 'rev-parse', '--short=10', 'HEAD'], capture_output=True, text=True, check=True
        ).stdout.strip()
        assert machine.own_version().removesuffix('-dirty') == f'{__version__}+{commit}'
    # Installed into somebody else's repository, whose commit says nothing about us.
    subprocess.run(['git', 'init', '-q', tmp_path], check=True)
    monkeypatch.setattr(machine, '__file__', str(tmp_path / 'site-packages' / 'ssal3d' / 'machine.py'))
    assert machine.own_version() == __version__


def test_a_processor_has_a_name():
    assert machine.cpu_name()
    assert machine.machine()
