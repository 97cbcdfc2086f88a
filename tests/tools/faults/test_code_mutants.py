"""Mutants: each has one mistake in what decides something, and the runs tell which mistakes tests notice."""

import ast
import subprocess
import sys

import pytest

from ssal3d.fileio import read_json
from tests.helpers.paths import ROOT
from tools.faults.code_mutants import mutants

CODE = '''
"""A module with 1 docstring."""
LIMIT: "int | None" = 3


def judge(values: list, low=0.5) -> bool:
    """Return 2 things."""
    if not values or len(values) < LIMIT:
        raise ValueError(f'{1 + 1} values, expected {LIMIT + 1}' + 'x' * 2)
    return sum(values) / 2 >= low and min(values) > -1
'''


@pytest.fixture
def module(tmp_path):
    path = tmp_path / 'judge.py'
    path.write_text(CODE)
    return path


def test_what_decides_is_changed_and_what_is_only_said_is_not(module):
    found = [(mutant.before, mutant.after) for mutant in mutants(module)]
    assert ('3', '4') in found
    assert ('len(values) < LIMIT', 'len(values) <= LIMIT') in found
    assert ('len(values) < LIMIT', 'len(values) > LIMIT') in found
    assert ('not values or len(values) < LIMIT', 'not values and len(values) < LIMIT') in found
    assert ('sum(values) / 2', 'sum(values) * 2') in found
    assert ('min(values)', 'max(values)') in found
    assert ('0.5', '1.5') in found
    text = ' '.join(before for before, _ in found)
    assert 'docstring' not in text
    assert 'None' not in text
    assert not any(before in ("'x' * 2", 'LIMIT + 1', '1 + 1') for before, _ in found)


def test_each_mutant_is_one_mistake_that_compiles(module):
    original = ast.unparse(ast.parse(CODE)).splitlines()
    found = list(mutants(module))
    assert len(found) == len({ast.unparse(mutant.tree) for mutant in found}) > 12
    for mutant in found:
        compile(mutant.tree, str(module), 'exec')
        changed = [pair for pair in zip(original, ast.unparse(mutant.tree).splitlines()) if len(set(pair)) > 1]
        assert len(changed) == 1, str(mutant)


def test_mistakes_that_no_test_notices_are_named(tmp_path):
    command = [sys.executable, 'tools/bench.py', 'mutants', 'ssal3d/active/query/budget.py', '--sample', '3']
    done = subprocess.run([*command, '--work-dir', str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = read_json(tmp_path / 'mutants.json')['modules'].values()
    assert not found['problem']
    assert len(found['killed']) + len(found['survived']) == 3
    assert found['mutants'] > 15
    assert len(found['killed']) >= 2
    for line in found['survived']:
        assert f'survived: {line}' in done.stdout


def test_a_module_without_a_test_of_its_own_is_told(tmp_path):
    from tools.faults.mutant_runs import tests_of

    names = [path.rpartition('/')[2] for path in tests_of(ROOT / 'ssal3d' / 'evaluation' / 'kitti_matching.py')]
    assert 'test_kitti_ap.py' in names
    assert tests_of(ROOT / 'ssal3d' / 'bank' / 'nothing.py') == []
