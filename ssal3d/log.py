"""What a run tells: everything goes to the log file, the story goes to the terminal."""

import logging
import sys
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger, print_log

PACKAGE = str(Path(__file__).parent)
# Said by the libraries about themselves; nobody who reads the terminal can act on it.
UPSTREAM_NOISE = (
    'will be deprecated',
    'Did not find last_checkpoint',
    'No checkpoint found',
    'is the alias of',
    'is_fx_tracing',
    'size mismatch is allowed',
)


def tell(message: str, level: int = logging.INFO, terminal: bool = True) -> None:
    """Log a message of ours.

    Args:
        message: One line, or a table for the log file.
        level: Level of the standard library.
        terminal: Whether the terminal shows it, too.
    """
    MMLogger.get_current_instance().log(level, message, extra={'terminal': terminal})


def _log(message: str, logger: Any = None, level: int = logging.INFO) -> None:
    print_log(message, logger or 'current', level)


def is_shown(record: logging.LogRecord) -> bool:
    """Return whether a log record belongs on the terminal: our messages, and warnings that somebody can act on."""
    chosen = getattr(record, 'terminal', None)
    if chosen is not None:
        return bool(chosen)
    if record.pathname.startswith(PACKAGE):
        return True
    message = record.getMessage()
    return record.levelno >= logging.WARNING and not any(noise in message for noise in UPSTREAM_NOISE)


class Plain(logging.Formatter):
    """A line of the terminal: time and message; a level only from warnings on."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        kind = f'{record.levelname.lower()}: ' if record.levelno >= logging.WARNING else ''
        return f'{self.formatTime(record, "%H:%M:%S")}  {kind}{record.getMessage()}'


def quieten(logger: logging.Logger) -> None:
    """Let the terminal of a logger show the story only, and Python's warnings go to its files.

    Args:
        logger: A logger of MMEngine.
    """
    if checkpoints := sys.modules.get('mmengine.runner.checkpoint'):  # it prints where nobody gives it a logger
        vars(checkpoints)['print_log'] = _log
    # Under torchrun, torch gives its loggers a handler of their own, which writes to the terminal.
    logging.getLogger('torch.fx._symbolic_trace').addFilter(is_shown)
    files: list[logging.Handler] = []
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            files.append(handler)
        else:
            handler.addFilter(is_shown)
            handler.setFormatter(Plain())
    if files:
        logging.captureWarnings(True)
        warned = logging.getLogger('py.warnings')
        warned.propagate = False
        warned.handlers = files
