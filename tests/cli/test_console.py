"""`ssal3d <command>`: the commands that exist, what their help says, and how soon."""

import ast
import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ssal3d import commands
from ssal3d.cli.main import main
from ssal3d.errors import EXTRAS, command
from ssal3d.version import __version__

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {entry.script: name for name, entry in commands.COMMANDS.items() if entry.script}
KINDS = {
    'evaluate': ['kitti', 'waymo', 'calibration'],
    'create-data': ['kitti', 'waymo'],
    'labels': ['init', 'export', 'import', 'status', 'check'],
}
EVERY = [[name, *kind] for name in commands.COMMANDS for kind in ([], *([kind] for kind in KINDS.get(name, [])))]


def run(capsys, *words, code=0):
    with pytest.raises(SystemExit) as ended:
        main(words)
    printed = capsys.readouterr()
    assert ended.value.code == code, printed.err
    return printed.out if code == 0 else printed.err


@pytest.mark.parametrize('words', EVERY, ids=' '.join)
def test_help_says_what_a_command_does_and_shows_an_example(capsys, monkeypatch, words):
    monkeypatch.setattr(sys, 'argv', ['ssal3d'])
    monkeypatch.setenv('COLUMNS', '100')
    text = run(capsys, *words, '--help')
    assert text.startswith(f'usage: ssal3d {" ".join(words)} ')
    example = text.partition('\nExample:\n')[2]
    assert example.startswith(f'    ssal3d {words[0]}')
    assert all(line.startswith('    ') for line in example.rstrip('\n').splitlines())
    assert 'tools/' not in text


@pytest.mark.parametrize('script', SCRIPTS)
def test_a_script_of_tools_is_the_same_command_under_its_own_name(capsys, monkeypatch, script):
    path = ROOT / 'tools' / f'{script}.py'
    monkeypatch.setattr(sys, 'argv', [str(path), '--help'])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name='__main__')
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f'usage: python tools/{script}.py ')
    assert f'\n    python tools/{script}.py ' in text.partition('Example:')[2]
    assert 'ssal3d ' not in text.partition('Example:')[2]
    if 'torchrun' in text:
        assert f'torchrun --nproc_per_node 4 tools/{script}.py ' in text


def test_summaries_are_the_first_lines_of_the_modules():
    for entry in commands.COMMANDS.values():
        source = Path(find_spec(entry.module).origin).read_text()
        assert ast.get_docstring(ast.parse(source)).splitlines()[0] == entry.summary


def test_the_overview_names_every_command_and_the_shipped_configs(capsys):
    for words in ((), ('--help',)):
        text = run(capsys, *words)
        assert all(f'  {name} ' in text for name in commands.COMMANDS)
        folder = Path(text.split('shipped configs are in ')[1].strip().removesuffix('.'))
        assert (folder / 'active' / 'cal_kitti.py').is_file()
    assert run(capsys, '--version') == f'ssal3d {__version__}\n'


def test_an_unknown_command_is_one_line(capsys):
    error = run(capsys, 'evalute', 'kitti', code=2)
    assert error.startswith("error: unknown command 'evalute': expected one of select, ")
    assert "did you mean 'evaluate'?" in error


def test_convert_is_create_data(capsys):
    assert run(capsys, 'convert', 'kitti', '--help') == run(capsys, 'create-data', 'kitti', '--help')


@pytest.mark.parametrize(('package', 'extra'), [*EXTRAS.items(), ('mmdet3d.registry', 'train')])
def test_a_package_of_an_extra_that_is_missing_is_a_user_error(capsys, package, extra):
    @command
    def work():
        raise ModuleNotFoundError(f'No module named {package!r}', name=package)

    with pytest.raises(SystemExit) as ended:
        work()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f'error: {package} is not installed')
    assert f'ssal3d[{extra}]' in error


def test_a_package_that_no_extra_has_is_a_bug():
    @command
    def work():
        raise ModuleNotFoundError("No module named 'nowhere'", name='nowhere')

    with pytest.raises(ModuleNotFoundError):
        work()


@pytest.mark.parametrize('words', [[], *EVERY], ids=' '.join)
def test_help_loads_nothing_that_takes_long(words):
    """0.03 to 0.12 s of CPU on the machine of the docs, as long as this holds."""
    code = 'import atexit, sys; atexit.register(lambda: print(*sys.modules)); from ssal3d.cli.main import main; main()'
    call = [sys.executable, '-c', code, *words, '--help']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(call, check=True, capture_output=True, text=True, env=environment)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert 'ssal3d.cli.main' in loaded
    slow = {'torch', 'mmengine', 'mmcv', 'numba', 'scipy', 'sklearn', 'pyarrow', 'pandas', 'matplotlib', 'trimesh'}
    assert not loaded & slow
