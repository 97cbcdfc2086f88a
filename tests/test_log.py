"""The terminal shows the story; the log file holds everything."""

import logging
import warnings

import pytest
from mmengine.runner import checkpoint
from torch import nn

from ssal3d import log
from ssal3d.runner import QuietRunner


def record(message, level=logging.INFO, path='/site-packages/mmengine/hooks/logger_hook.py', **extra):
    made = logging.LogRecord('name', level, path, 1, message, None, None)
    vars(made).update(extra)
    return made


@pytest.mark.parametrize(
    ('shown', 'made'),
    [
        (False, record('Epoch(train) [1][10/53] lr: 1e-3 loss: 1.3')),
        (True, record('a warning', logging.WARNING)),
        (False, record('"FileClient" will be deprecated in future', logging.WARNING)),
        (False, record('Did not find last_checkpoint to be resumed.', logging.WARNING)),
        (True, record('of ours', path=f'{log.PACKAGE}/loop/querying.py')),
        (True, record('told', terminal=True)),
        (False, record('a table of 54 numbers', terminal=False)),
    ],
)
def test_what_the_terminal_shows(shown, made):
    assert log.is_shown(made) is shown


@pytest.fixture
def warnings_as_at_start(monkeypatch):
    """Python's warnings are not handed to the logging module yet, whatever an earlier test of this process did."""
    monkeypatch.setattr(logging, '_warnings_showwarning', None)
    monkeypatch.setattr(warnings, 'showwarning', warnings.showwarning)


def test_the_log_file_holds_what_the_terminal_does_not_show(tmp_path, capsys, warnings_as_at_start):
    runner = QuietRunner(nn.Identity(), str(tmp_path), experiment_name='quiet')
    checkpoint.find_latest_checkpoint(str(tmp_path))
    log.tell('the story')
    log.tell('all numbers', terminal=False)
    runner.logger.warning('look at this')
    warnings.warn('of a library', UserWarning, stacklevel=1)
    written, shown = next(tmp_path.glob('*/*.log')).read_text(), ''.join(capsys.readouterr())
    for text, where in (
        ('System environment', [True, False]),
        ('Did not find last_checkpoint', [True, False]),
        ('the story', [True, True]),
        ('all numbers', [True, False]),
        ('warning: look at this', [False, True]),
        ('look at this', [True, True]),
        ('of a library', [True, False]),
    ):
        assert [text in written, text in shown] == where, text


def test_what_torch_says_about_itself_under_torchrun_is_not_shown(tmp_path, caplog, warnings_as_at_start):
    QuietRunner(nn.Identity(), str(tmp_path), experiment_name='traced')
    with caplog.at_level(logging.WARNING):
        logging.getLogger('torch.fx._symbolic_trace').warning('is_fx_tracing will return true for both')
        logging.getLogger('torch.fx._symbolic_trace').warning('something else')
    assert [entry.getMessage() for entry in caplog.records] == ['something else']
