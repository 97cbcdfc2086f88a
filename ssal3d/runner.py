"""mmengine's runner with a terminal that shows progress; the log files hold everything."""

import logging
import warnings
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ssal3d.distributed import frames_per_process

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

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the environment, then give each process its share of a run's ``total_batch_size``.

        Args:
            env_cfg: As for `Runner.setup_env`.

        Raises:
            UserError: If the processes cannot share the batch evenly.
        """
        super().setup_env(env_cfg)
        total = self.cfg.get('total_batch_size')
        if total is not None and isinstance(self._train_dataloader, dict):
            self._train_dataloader['batch_size'] = frames_per_process(total, self.world_size)

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


def is_short(record: logging.LogRecord) -> bool:
    """Whether a log record belongs on the terminal.

    Args:
        record: The record.
    """
    message = record.getMessage().strip()
    return record.levelno >= logging.WARNING or (message.count('\n') < MAX_LINES and len(message) < MAX_CHARACTERS)
