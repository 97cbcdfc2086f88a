"""The public names of every room."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ssal3d import compat
from tests.helpers.paths import ROOT

compat.apply_all()
PACKAGES = sorted(
    '.'.join(path.parent.relative_to(ROOT).parts)
    for path in (ROOT / 'ssal3d').rglob('__init__.py')
    if 'lazy_exports(' in path.read_text()
)


def typed_imports(package):
    """The names that type checkers see, and the module that each is imported from."""
    tree = ast.parse(Path(import_module(package).__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.asname: node.module for node in block.body for alias in node.names}


@pytest.mark.parametrize('package', PACKAGES)
def test_lazy_names_are_those_that_type_checkers_see(package):
    room, typed = import_module(package), typed_imports(package)
    assert {*typed} == {*dir(room)} <= {*room.__all__}
    for name, module in typed.items():
        assert getattr(room, name) is getattr(import_module(module), name)
        assert not (ROOT / package.replace('.', '/') / f'{name}.py').exists()  # the module would hide the name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'no_such_name'"):
        _ = room.no_such_name


@pytest.mark.parametrize('package', ['active', 'active.functional', 'cpsp', 'models', 'predictions', 'semi'])
def test_every_promised_name_is_there(package):
    room = import_module(f'ssal3d.{package}')
    assert all(hasattr(room, name) for name in room.__all__)


@pytest.mark.parametrize('package', ['active', 'bank', 'cpsp', 'data', 'evaluation', 'predictions', 'simulation'])
def test_rooms_for_arrays_do_not_wait_for_torch(package):
    code = (
        f"import sys, ssal3d.{package}; print([name for name in ('torch', 'mmdet3d', 'mmcv') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert (run.stdout, run.returncode) == ('[]\n', 0), run.stderr
