"""Who may import whom: the rooms stand on floors, and no import goes up."""

import ast

import pytest

from tests.helpers.paths import ROOT

FLOORS = (
    (
        *('version', 'errors', 'log', 'exports', 'typed', 'fileio', 'spelling', 'class_names', 'options', 'plugins'),
        *('columns', 'arrays', 'journal_steps', 'plain_pickle', 'registry', 'terminal', 'machine'),
        *('commands', 'config_text', 'configs', 'resolving', 'derived_values'),
    ),
    ('mmcv_stand_in',),
    ('devices', 'distributed'),
    ('shared_work',),
    ('ops',),
    ('data', 'compat'),
    # Detectors fill the contract that `predictions.schema` states; `predictions.pool_inference` runs detectors.
    ('evaluation', 'simulation', 'models', 'predictions', 'launch', 'runner', 'register'),
    ('active', 'annotation', 'bank', 'stages'),
    ('cpsp', 'semi', 'report', 'planning'),
    ('loop', 'checks'),
    ('cli', 'env', 'reproduce', '__main__'),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
STRANGERS = {
    ('semi', 'cpsp'),
    ('cpsp', 'semi'),
    ('loop', 'semi'),
    ('loop', 'cpsp'),
    ('bank', 'active'),
    ('stages', 'bank'),
}


def imported(path):
    """The rooms that a module imports, itself included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'ssal3d':
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith('ssal3d.')]
        else:
            continue
        yield from (name.split('.')[1] for name in names)


def modules():
    for path in sorted((ROOT / 'ssal3d').rglob('*.py')):
        parts = path.relative_to(ROOT / 'ssal3d').with_suffix('').parts
        if parts != ('__init__',):
            yield parts[0], path


@pytest.mark.parametrize('room', sorted({room for room, _ in modules()}))
def test_no_import_goes_up_and_strangers_do_not_know_each_other(room):
    assert room in FLOOR, f'{room}: put the new room on its floor'
    for path in (path for own, path in modules() if own == room):
        for other in imported(path):
            assert FLOOR[other] <= FLOOR[room], f'{path} imports {other}'
            assert (room, other) not in STRANGERS, f'{path} imports {other}'
