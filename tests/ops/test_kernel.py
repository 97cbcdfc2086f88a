import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssal3d.ops import box_kernels, boxes
from ssal3d.ops.kernel import digest

CALLEE = """
from ssal3d.ops.kernel import kernel
FACTOR = {factor}

@kernel
def scaled(x):
    return {expression}
"""
CALLER = """
from ssal3d.ops.kernel import kernel
from callee import FACTOR, scaled

@kernel
def total(x):
    return scaled(x) + 100 * FACTOR
"""
TABLE, SCALE = np.ones(2), 1
SHOW = 'import caller; print(caller.total(3.0), sum(caller.total.stats.cache_hits.values()))'


def _run(folder: Path) -> tuple[float, int]:
    command = [sys.executable, '-B', '-c', SHOW]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    value, hits = done.stdout.split()
    return float(value), int(hits)


def test_a_cached_kernel_is_compiled_anew_when_one_that_it_calls_or_a_constant_from_another_file_changes(tmp_path):
    (tmp_path / 'caller.py').write_text(CALLER)
    (tmp_path / 'callee.py').write_text(CALLEE.format(factor=0, expression='2 * x'))
    assert _run(tmp_path) == (6, 0)
    assert _run(tmp_path) == (6, 1)  # from the cache
    (tmp_path / 'callee.py').write_text(CALLEE.format(factor=0, expression='5 * x'))
    assert _run(tmp_path) == (15, 0)
    (tmp_path / 'callee.py').write_text(CALLEE.format(factor=1, expression='5 * x'))
    assert _run(tmp_path) == (115, 0)
    assert _run(tmp_path) == (115, 1)


TAKES_A_RECORD = """
from typing import NamedTuple
from ssal3d.ops.kernel import kernel

class {name}(NamedTuple):
    x: float

@kernel
def total(record):
    return record.x + 1
value = total({name}(2.0))
"""


@pytest.mark.parametrize('damaged', [False, True])
def test_a_cache_that_names_a_class_under_its_old_name_or_is_cut_is_made_anew(tmp_path, damaged):
    show = [sys.executable, '-B', '-c', 'import takes; print(takes.value)']
    path = tmp_path / 'takes.py'
    for name in ('Old', 'New'):
        path.write_text(TAKES_A_RECORD.format(name=name))
        os.utime(path, (1, 1))  # numba looks at the file's time and size only
        if damaged and name == 'New':
            (index,) = (tmp_path / '__pycache__').glob('*.nbi')
            index.write_bytes(index.read_bytes()[:-40])
        done = subprocess.run(show, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, '3.0\n'), done.stderr


def test_every_kernel_of_the_package_is_compiled_by_the_one_decorator():
    package = Path(boxes.__file__).parents[1]
    others = [path for path in package.rglob('*.py') if 'njit' in path.read_text() and path.name != 'kernel.py']
    assert others == []


def test_the_digest_covers_what_a_kernel_calls(monkeypatch):
    kernel = next(
        value for value in vars(boxes).values() if hasattr(value, 'py_func') and value.__module__ == boxes.__name__
    )
    before = digest(kernel.py_func)
    assert before == digest(kernel.py_func)
    called = next(name for name in kernel.py_func.__code__.co_names if hasattr(getattr(boxes, name, None), 'py_func'))
    other = next(
        value
        for value in vars(box_kernels).values()
        if hasattr(value, 'py_func') and value is not getattr(boxes, called)
    )
    monkeypatch.setattr(boxes, called, other)
    assert digest(kernel.py_func) != before


def _reads_a_table() -> float:
    return float(TABLE[0] * SCALE)


def test_the_digest_covers_arrays_and_numbers(monkeypatch):
    first = digest(_reads_a_table)
    monkeypatch.setitem(globals(), 'TABLE', np.zeros(2))
    second = digest(_reads_a_table)
    monkeypatch.setitem(globals(), 'SCALE', 2)
    assert len({first, second, digest(_reads_a_table)}) == 3
