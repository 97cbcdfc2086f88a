"""mmengine's runner with a terminal that shows progress; the log files hold everything."""

import logging
import warnings
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, Runner

# Longer messages (environment, config, hooks, every single metric) go to the log file only.
MAX_LINES, MAX_CHARACTERS = 20, 2000

# Said by the libraries about each other at every step; nobody who reads the terminal can act on it.
UPSTREAM_WARNINGS = (
    r'DeprecationWarning: (pos_)?bboxes is deprecated',
    r'Using a non-tuple sequence for multidimensional indexing',
    r'torch\.meshgrid: in an upcoming release',
)


class QuietRunner(Runner):
    """A runner that prints short messages, warnings and errors, and logs all of them."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger and shorten what its terminal shows.

        Args:
            *args: As for `Runner.build_logger`.
            **kwargs: As for `Runner.build_logger`.
        """
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(is_short)
        for message in UPSTREAM_WARNINGS:
            warnings.filterwarnings('ignore', message=message)
        return logger

    def build_val_loop(self, loop: Any) -> BaseLoop:
        """Build the validation loop, and let its metrics look at the data before anything is trained.

        Args:
            loop: As for `Runner.build_val_loop`.
        """
        built = super().build_val_loop(loop)
        check_evaluation(built)
        return built

    def build_test_loop(self, loop: Any) -> BaseLoop:
        """Build the test loop, and let its metrics look at the data before anything is predicted.

        Args:
            loop: As for `Runner.build_test_loop`.
        """
        built = super().build_test_loop(loop)
        check_evaluation(built)
        return built


def check_evaluation(loop: Any) -> None:
    """Let every metric that can (``check_frames``) check the labels that it will measure against.

    Args:
        loop: A built validation or test loop.

    Raises:
        UserError: If something is wrong with them.
    """
    dataset = loop.dataloader.dataset
    for metric in loop.evaluator.metrics:
        if hasattr(metric, 'check_frames'):
            metric.check_frames(getattr(dataset, 'frame_ids', None))


def is_short(record: logging.LogRecord) -> bool:
    """Whether a log record belongs on the terminal.

    Args:
        record: The record.
    """
    message = record.getMessage().strip()
    return record.levelno >= logging.WARNING or (message.count('\n') < MAX_LINES and len(message) < MAX_CHARACTERS)
