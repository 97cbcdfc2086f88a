import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from numba.core.registry import CPUDispatcher

from ssal3d.ops.warm_up import MODULES, warm_up

ROOT = Path(__file__).resolve().parents[2]


def test_every_kernel_of_the_operators_is_compiled_afterwards():
    names = [name for name in MODULES if name.startswith('ssal3d.ops.')]
    assert warm_up(tuple(names)) == names
    modules = [vars(import_module(name)) for name in [*names, 'ssal3d.ops.boxes']]
    kernels = {kernel for module in modules for kernel in module.values() if isinstance(kernel, CPUDispatcher)}
    inner = {name for kernel in kernels for name in kernel.py_func.__code__.co_names}  # compiled with their callers
    missed = [kernel.__name__ for kernel in kernels if not kernel.signatures and kernel.__name__ not in inner]
    assert len(kernels) > 20
    assert missed == []


def test_all_modules_with_operators_are_listed():
    sources = (ROOT / 'ssal3d' / 'ops').glob('*.py')
    with_kernels = {f'ssal3d.ops.{path.stem}' for path in sources if '@njit' in path.read_text()}
    assert with_kernels - set(MODULES) == {'ssal3d.ops.boxes'}  # compiled through its users


@pytest.mark.parametrize('missing', ['ssal3d.no_such_room.kernels', 'ssal3d.ops.no_such_kernels', 'ssal3d.version'])
def test_missing_modules_are_passed_over(missing):
    assert warm_up((missing,)) == []


def test_the_command_prints_one_line():
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'ssal3d.ops.warm_up'], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count('\n') == 1
    assert 'modules compiled or found in the cache' in run.stdout
