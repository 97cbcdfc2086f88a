"""Tables for people: nothing that was measured is cut."""

import pytest

from ssal3d import terminal

HEADER = ('', 'row', 'car in 3D (paper)', 'path')
ROWS = [
    (1, 'pre-training and a query of each kind', '41.3 ± 12.1', '/somewhere/' + 'x' * 40),
    (2, 'no pre-training', '', 'here'),
    (3, 'all labels', '100.0', None),
]


@pytest.mark.parametrize('width', [20, 80, 200])
def test_numbers_and_words_are_whole_at_any_width(width, monkeypatch, capsys):
    monkeypatch.setattr(terminal.console, '_width', width)
    terminal.print_table('a title', HEADER, ROWS)
    shown = capsys.readouterr().out
    assert '…' not in shown
    assert '41.3 ± 12.1' in shown
    for word in ' '.join(HEADER[:-1] + tuple(row[1] for row in ROWS)).split():
        assert word in shown
    column = [line.split('│')[4].strip() for line in shown.splitlines() if line.startswith('│')]
    assert ''.join(column) == ROWS[0][3] + 'here'


def test_numbers_stand_right_and_text_left(capsys):
    terminal.print_table('a title', ('name', 'value'), [('a', '1.0 ± 0.5'), ('bb', '-'), ('ccc', 30.25)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('│')]
    assert lines == ['│ a    │ 1.0 ± 0.5 │', '│ bb   │         - │', '│ ccc  │     30.25 │']
