"""The terminal shows short messages; the log file holds all of them."""

import logging

import pytest
from torch import nn

from ssal3d.runner import QuietRunner, is_short


def record(message, level=logging.INFO):
    return logging.LogRecord('name', level, 'file', 1, message, None, None)


@pytest.mark.parametrize(
    ('message', 'level', 'shown'),
    [
        ('Epoch(train) [1][10/53]', logging.INFO, True),
        ('\n' + 60 * '-' + '\n', logging.INFO, True),
        ('Config:\n' + 'a = 1\n' * 50, logging.INFO, False),
        ('Car_3d_R40_moderate: 0.0  ' * 100, logging.INFO, False),
        ('first\n' * 50, logging.WARNING, True),
    ],
)
def test_long_messages_are_not_shown(message, level, shown):
    assert is_short(record(message, level)) is shown


def test_the_log_file_holds_what_the_terminal_does_not_show(tmp_path, capsys):
    runner = QuietRunner(nn.Identity(), str(tmp_path), experiment_name='quiet')
    runner.logger.info('a short message')
    written = next(tmp_path.glob('*/*.log')).read_text()
    shown = capsys.readouterr().out
    assert ['System environment' in text for text in (written, shown)] == [True, False]
    assert ['a short message' in text for text in (written, shown)] == [True, True]
