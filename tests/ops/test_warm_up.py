import subprocess
import sys
from importlib import import_module
from pathlib import Path

from numba.core.registry import CPUDispatcher

from ssal3d.ops.warm_up import modules_to_warm_up, warm_up

ROOT = Path(__file__).resolve().parents[2]


THROUGH_THEIR_USERS = {  # by kitti_ap, by boxes, by paste
    'ssal3d.evaluation.kitti_matching',
    'ssal3d.ops.box_kernels',
    'ssal3d.ops.kept_points',
}
WITH_KERNELS = {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in (ROOT / 'ssal3d').rglob('*.py')
    if '\n@kernel' in path.read_text()
}


def test_every_module_with_kernels_is_found():
    assert {*modules_to_warm_up(), *THROUGH_THEIR_USERS} - {'ssal3d.evaluation.kitti_ap'} == WITH_KERNELS


def test_finding_them_imports_nothing_heavy():
    code = 'import sys; from ssal3d.ops import warm_up; warm_up.modules_to_warm_up(); print({"torch", "numba"} & {*sys.modules})'
    run = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert (run.stdout, run.returncode) == ('set()\n', 0), run.stderr


def test_every_kernel_is_compiled_afterwards():
    assert warm_up() == modules_to_warm_up()
    modules = [vars(import_module(name)) for name in WITH_KERNELS]
    kernels = {kernel for module in modules for kernel in module.values() if isinstance(kernel, CPUDispatcher)}
    inner = {name for kernel in kernels for name in kernel.py_func.__code__.co_names}  # compiled with their callers
    missed = [kernel.__name__ for kernel in kernels if not kernel.signatures and kernel.__name__ not in inner]
    assert len(kernels) > 20
    assert missed == []


def test_the_command_prints_one_line():
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'ssal3d.ops.warm_up'], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count('\n') == 1
    assert 'modules compiled or found in the cache' in run.stdout
