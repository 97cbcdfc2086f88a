"""Tests against mutants: each mutant is tested in a fork of a process that has imported what is not tested.

A fresh interpreter for each would spend seconds on imports where the tests of a module take a tenth of one. Mutants are
never written to disk: the fork imports the changed syntax in place of the file.
"""

import ast
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

import numba
import pytest

from ssal3d import compat
from tests.helpers.paths import ROOT

HEAVY = (  # and the parts of pytest that it imports when it starts
    'scipy.optimize',
    'sklearn.cluster',
    'pyarrow.parquet',
    'torch',
    'mmengine.runner',
    'shapely',
    'hypothesis',
)
OURS = ('ssal3d', 'ssal3d.typed', 'ssal3d.ops.kernel', 'ssal3d.fileio', 'ssal3d.registry', 'ssal3d.log')
LONGEST = 2.0  # s; slower tests are left out
PATIENCE = 20.0  # s on top of five times what the tests take without a mistake


def warm_up(cache: Path) -> None:
    """Import what no mutant changes, and keep what is compiled in a folder of this check."""
    numba.config.CACHE_DIR = str(cache)
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    os.environ.pop('SSAL3D_TEST_DATA', None)  # tests on real frames take long
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(cache / 'bytecode')
    for name in (*HEAVY, *OURS):
        importlib.import_module(name)
    compat.apply_all()  # as the tests' conftest does, which takes seconds
    gc.collect()
    gc.freeze()


def tests_of(path: Path) -> list[str]:
    """Return the tests of a module: its examples, the tests of its room that import it or a module that does.

    Where there are none, those that import a module which imports such a module.
    """
    room = path.relative_to(ROOT / 'ssal3d').parts[0]
    modules = {module_name(file): imported_by(file) for file in (ROOT / 'ssal3d' / room).rglob('*.py')}
    mirror = ROOT.joinpath('tests', *path.relative_to(ROOT / 'ssal3d').parts[:-1], f'test_{path.name}')
    tests = {file: imported_by(file) for file in (ROOT / 'tests' / room).rglob('test_*.py')}
    names, files = {module_name(path)} & set(modules), set[Path]()
    for _ in range(3):
        names |= {user for user, imported in modules.items() if names & imported}
        files |= {file for file, imported in tests.items() if file == mirror or names & imported}
        if files:
            break
    examples = [path] if path.exists() and '>>>' in path.read_text() else []
    return sorted(str(file) for file in (*examples, *files))


def module_name(path: Path) -> str:
    """Return the name of a module of the package."""
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


def imported_by(file: Path) -> set[str]:
    """Return the modules that a file names, and those that it may name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


class Baseline:
    """Runs of the tests of one module.

    Args:
        path: The module.
        folder: For notes between processes.

    Attributes:
        tests: Test files; empty if the module has none.
        durations: Seconds by test, without a mistake, of those that are fast enough.
        seconds: What a run without a mistake takes.
        problem: Why the module cannot be checked; empty if it can.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.name = module_name(path)
        self.tests = tests_of(path)
        self.durations: dict[str, float] = {}
        self.seconds, self.problem = 0.0, '' if self.tests else 'no test names it'
        for _ in range(2 * bool(self.tests)):  # the first run compiles
            begin = time.monotonic()
            status = _in_fork(lambda: self._test(None, folder / 'durations.json'), 600)
            self.seconds = time.monotonic() - begin
            if status:
                self.problem = f'its tests end with {status} as they are'
                return
            found = json.loads((folder / 'durations.json').read_text())
            self.durations = {test: seconds for test, seconds in found.items() if seconds < LONGEST}
        if self.tests and not self.durations:
            self.problem = 'all of its tests are slow, or need what is not here'

    def survives(self, tree: ast.Module) -> bool:
        """Whether all tests pass with a mistake in the module."""
        return _in_fork(lambda: self._test(tree, None), PATIENCE + 5 * self.seconds) == 0

    def _test(self, tree: ast.Module | None, durations: Path | None) -> int:
        chosen = None if durations else self.durations
        options = ['-x', '-p', 'no:cacheprovider', '-p', 'no:xdist', '-m', 'not slow and not gpu', '--durations=0']
        plugin = _Choice(chosen, _Changed(self.name, self.path, tree))
        status = int(pytest.main([*options, *self.tests], plugins=[plugin]))
        if durations:
            durations.write_text(json.dumps(plugin.durations))
        return status


class _Choice:
    """Part of pytest: brings the mistake in, runs the fastest tests first and slow ones not at all."""

    def __init__(self, known: Mapping[str, float] | None, changed: '_Changed') -> None:
        self.known, self.changed, self.durations = known, changed, {}

    def pytest_sessionstart(self) -> None:
        sys.meta_path.insert(0, self.changed)  # before pytest's own, which reads files that it is given from the disk

    def pytest_collection_modifyitems(self, items: list) -> None:
        if self.known is not None:
            items[:] = sorted((i for i in items if i.nodeid in self.known), key=lambda item: self.known[item.nodeid])

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == 'call' and report.passed:
            self.durations[report.nodeid] = report.duration


class _Changed(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Finds one module and gives it other code."""

    def __init__(self, name: str, path: Path, tree: ast.Module | None) -> None:
        importlib.machinery.SourceFileLoader.__init__(self, name, str(path))
        self.tree = tree

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        if name != self.name or self.tree is None:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, name: str) -> CodeType | None:
        return compile(self.tree, self.path, 'exec')


def _in_fork(work: Callable[[], int], limit: float) -> int:
    """Return the exit status of work in a process of its own, silent; 124 if it took too long, then it is killed."""
    child = os.fork()
    if not child:
        try:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
            status = work()
        except BaseException:
            status = 99
        os._exit(status)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124
