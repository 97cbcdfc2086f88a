"""The set-up, without installing anything: what it finds out, decides and hands to uv."""

import argparse
import doctest
import importlib
import json
import os
import stat
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    return argparse.Namespace(
        **{name.rpartition('.')[2]: importlib.import_module(name) for name in (
            'setup_env', 'environment.machine', 'environment.installer', 'environment.mmcv_wheel',
        )}
    )  # fmt: skip


@pytest.fixture
def environment(modules, monkeypatch, tmp_path):
    """Make an `Environment` on a machine with the given GPUs; nothing of it exists yet."""

    def make(gpus=(), **options):
        monkeypatch.setattr(modules.setup_env, 'gpus', lambda: list(gpus))
        options = {'torch': 'auto', 'spconv': 'auto', 'ops': 'auto', 'dependencies': 'newest', **options}
        made = modules.setup_env.Environment(argparse.Namespace(**options))
        made.folder, made.python, made.stamp = tmp_path, tmp_path / 'python', tmp_path / 'stamp'
        return made

    return make


def program(path, text):
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_examples_in_the_docstrings_hold(modules):
    results = [doctest.testmod(module) for module in vars(modules).values()]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) >= 4


def test_pip_settings_of_files_and_environment_reach_uv(modules):
    settings = (
        "global.index-url='https://mirror/simple'\nglobal.timeout='60'\n"
        "install.constraint='/etc/caps.txt'\n:env:.extra-index-url='file:///a/simple file:///b/simple'\n"
        "global.find-links='/old'\n:env:.find-links='/new'\nglobal.trusted-host='mirror'\n"
    )
    assert modules.installer.pip_sources(settings) == [
        '--index-strategy', 'unsafe-best-match', '--default-index', 'https://mirror/simple',
        '--index', 'file:///a/simple', '--index', 'file:///b/simple', '--find-links', '/new',
        '--constraints', '/etc/caps.txt', '--allow-insecure-host', 'mirror',
    ]  # fmt: skip
    assert modules.installer.pip_sources('') == ['--index-strategy', 'unsafe-best-match']


def test_an_environment_made_without_pip_gets_it(modules, tmp_path):
    asked = tmp_path / 'asked'
    python = program(tmp_path / 'python', f'case "$2" in *pip.__version__*) exit 1;; esac; echo "$@" >> {asked}')
    program(tmp_path / 'uv', '')
    modules.installer.Installer(python, tmp_path)
    assert asked.read_text().splitlines()[0] == '-m ensurepip'
    program(python, 'case "$2" in ensurepip) echo "no ensurepip" >&2; exit 1;; *) exit 1;; esac')
    with pytest.raises(modules.installer.InstallError, match=r'python has no pip and cannot get it: no ensurepip'):
        modules.installer.Installer(python, tmp_path)


def test_a_gpu_is_found_by_its_driver(modules, monkeypatch, tmp_path):
    monkeypatch.setattr(modules.machine, 'DRIVER', tmp_path / 'version')
    monkeypatch.setenv('PATH', str(tmp_path))
    assert modules.machine.gpus() == []
    (tmp_path / 'version').touch()
    assert modules.machine.gpus() == ['']
    program(tmp_path / 'nvidia-smi', 'echo 9.0; echo 8.0; echo 9.0')
    assert modules.machine.gpus() == ['8.0', '9.0']
    program(tmp_path / 'nvidia-smi', 'echo "no devices were found"; exit 6')
    assert modules.machine.gpus() == ['']


def test_compilers_are_bounded_by_memory(modules, monkeypatch):
    monkeypatch.setattr(modules.machine, 'cores', lambda: 64)
    monkeypatch.setattr(modules.machine, 'memory_gib', lambda: 24.0)
    assert modules.machine.compile_jobs(with_cuda=True) == 8
    assert modules.machine.compile_jobs(with_cuda=False) == 24
    monkeypatch.setattr(modules.machine, 'memory_gib', lambda: 0.5)
    assert modules.machine.compile_jobs(with_cuda=True) == 1


def test_a_container_limits_the_memory(modules, monkeypatch, tmp_path):
    (tmp_path / 'limit').write_text('1073741824\n')
    (tmp_path / 'none').write_text('max\n')
    monkeypatch.setattr(modules.machine, 'MEMORY_LIMITS', (tmp_path / 'none', tmp_path / 'limit'))
    assert modules.machine.memory_gib() == 1.0


def test_a_toolkit_of_another_major_version_is_not_taken(modules, monkeypatch, tmp_path):
    (tmp_path / 'bin').mkdir()
    program(tmp_path / 'bin' / 'nvcc', 'echo "Cuda compilation tools, release 12.4, V12.4.131"')
    monkeypatch.setenv('CUDA_HOME', str(tmp_path))
    monkeypatch.setenv('PATH', os.defpath)
    assert modules.machine.cuda_home('12.6') == tmp_path
    assert modules.machine.cuda_home('13.0') != tmp_path


def test_each_wheel_of_mmcv_has_its_own_place_in_the_cache(modules, monkeypatch, tmp_path):
    wheel = modules.mmcv_wheel
    monkeypatch.setattr(wheel, 'gpus', lambda: ['8.0', '9.0'])
    monkeypatch.delenv('TORCH_CUDA_ARCH_LIST', raising=False)
    python = program(tmp_path / 'python', 'echo "2.13.0+cu126 12.6"')
    assert wheel.target(python) == wheel.Target('2.13.0+cu126', '12.6', '8.0;9.0')
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', '9.0 10.0')
    assert wheel.target(python).key == 'torch-2.13.0+cu126-cuda-12.6-9.0_10.0'
    assert wheel.target(program(python, 'echo "2.13.0+cpu "')).key == 'torch-2.13.0+cpu-cuda-none'


def test_the_packaged_compiler_is_laid_out_like_a_toolkit(modules, monkeypatch, tmp_path):
    packages = tmp_path / 'nvidia'
    for file in ('bin/nvcc', 'include/cuda.h', 'lib/libcudart.so.13'):
        (packages / 'cu13' / file).parent.mkdir(parents=True, exist_ok=True)
        (packages / 'cu13' / file).write_text(file)
    installed = []
    installer = argparse.Namespace(python=tmp_path / 'python', install=lambda *names: installed.extend(names))
    monkeypatch.setattr(modules.mmcv_wheel, 'ask', lambda *_: str(packages))
    home = modules.mmcv_wheel.packaged_compiler(installer, '13.0', tmp_path)
    assert modules.mmcv_wheel.packaged_compiler(installer, '13.0', tmp_path) == home
    assert (home / 'bin' / 'nvcc').read_text() == 'bin/nvcc'
    assert (home / 'include' / 'cuda.h').exists()
    assert (home / 'lib64' / 'libcudart.so').read_text() == 'lib/libcudart.so.13'
    assert installed
    assert all(name.endswith('==13.0.*') for name in installed)


def test_where_no_package_has_the_compiler_the_set_up_says_what_to_install(modules, tmp_path):
    with pytest.raises(modules.installer.InstallError, match=r'install the CUDA toolkit 12\.6 and set CUDA_HOME'):
        modules.mmcv_wheel.packaged_compiler(argparse.Namespace(), '12.6', tmp_path)


def test_an_environment_for_a_gpu_also_serves_a_login_node(environment):
    made = environment(gpus=['9.0'])
    made.python.touch()
    made.stamp.write_text(json.dumps(made.wanted))
    assert made.is_ready()
    assert environment(gpus=[]).is_ready()
    assert not environment(gpus=['8.0']).is_ready()
    assert not environment(gpus=[], torch='cpu').is_ready()
    made.stamp.write_text('{half')
    assert not made.is_ready()


def test_an_environment_for_cpus_is_made_anew_where_there_is_a_gpu(environment):
    made = environment(gpus=[])
    made.python.touch()
    made.stamp.write_text(json.dumps(made.wanted))
    assert not environment(gpus=['9.0']).is_ready()


class Recorder:
    """Stands for the installer; refuses some builds of torch."""

    def __init__(self, error, *refused):
        self.error, self.refused, self.calls = error, refused, []

    def install(self, *requirements, backend=''):
        self.calls.append((*requirements, backend))
        if backend in self.refused:
            raise self.error('no such index')


@pytest.mark.parametrize(
    ('gpus', 'torch', 'refused', 'calls'),
    [
        ([], 'auto', [], [('torch==2.13.0', 'cpu')]),
        ([], 'auto', ['cpu'], [('torch==2.13.0', 'cpu'), ('torch==2.13.0', '')]),
        (['9.0'], 'auto', [], [('torch==2.13.0', 'auto')]),
        (['9.0'], '2.11.0', ['auto'], [('torch==2.11.0', 'auto'), ('torch==2.11.0', '')]),
        ([], '2.11.0+cu126', [], [('torch==2.11.0', 'cu126')]),
    ],
)
def test_torch_comes_from_its_index_or_from_where_pip_would_look(environment, modules, gpus, torch, refused, calls):
    made = environment(gpus=gpus, torch=torch)
    made.installer = Recorder(modules.installer.InstallError, *refused)
    made.install_torch()
    assert made.installer.calls == calls


def test_a_build_that_was_named_is_not_replaced_by_another(environment, modules):
    made = environment(torch='cu126')
    made.installer = Recorder(modules.installer.InstallError, 'cu126')
    with pytest.raises(modules.installer.InstallError, match='for cu126 cannot be installed: no such index'):
        made.install_torch()


def test_a_gpu_that_torch_cannot_use_ends_the_set_up(environment):
    made = environment(gpus=['12.0'])
    program(made.python, 'case "$2" in *cuda.init*) echo "driver too old";; *) echo \'{"torch": "2.13.0"}\';; esac')
    with pytest.raises(SystemExit, match=r'has a GPU, but torch 2\.13\.0 cannot use it: driver too old;.*TORCH=cu126'):
        made.check_gpu()
    program(made.python, '')
    made.check_gpu()


@pytest.mark.parametrize(
    ('gpus', 'torch', 'served'),
    [([], 'auto', ''), ([], '2.4.1', ''), ([], 'cu126', '12.6'), (['9.0'], 'auto', '12.6'), ([], 'cpu', '')],
)
def test_a_machine_without_a_gpu_needs_no_cuda_though_torch_comes_with_it(environment, gpus, torch, served):
    made = environment(gpus=gpus, torch=torch)
    program(made.python, 'echo 12.6')
    assert made.cuda() == served


def test_other_builds_leave_before_the_chosen_one_comes(environment, modules, monkeypatch):
    made, removed = environment(), []
    made.installer = argparse.Namespace(uninstall=lambda *names: removed.append(names))
    found = {'spconv': '2.3.8', 'spconv-cu126': '2.3.8', 'mmcv-lite': '2.1.0'}
    monkeypatch.setattr(modules.setup_env, 'versions', lambda _, names: {n: v for n, v in found.items() if n in names})
    made.remove_others(compiled=True, spconv='cu126')
    assert removed == [('mmcv-lite', 'spconv', 'spconv-cu126')]
    found = {'spconv': '2.3.8', 'mmcv-lite': '2.1.0'}
    made.remove_others(compiled=False, spconv='cpu')
    assert len(removed) == 1


def test_the_command_shows_its_options():
    import subprocess

    result = subprocess.run([sys.executable, TOOLS / 'setup_env.py', '--help'], capture_output=True, text=True)
    assert result.returncode == 0
    assert '--dependencies' in result.stdout
