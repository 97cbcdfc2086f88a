"""Running one stage: an ordinary mmengine run in its own folder."""

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process

from ssal3d.config_text import config_text
from ssal3d.distributed import barrier
from ssal3d.fileio import atomic_path
from ssal3d.models.loading import newest_checkpoint
from ssal3d.runner import QuietRunner

CONFIG_NAME = 'config.py'


def train_stage(config: Config, name: str) -> dict[str, Any]:
    """Train a stage, from where an interrupted run left it.

    Args:
        config: The complete config of the run. It is written to ``work_dir/config.py`` for reruns by hand.
        name: Name of the run, unique in the process.

    Returns:
        Validation metrics of the last epoch by key.
    """
    write_config(config)
    config = config.copy()
    config.experiment_name = name
    checkpoint = newest_checkpoint(config.work_dir)
    if checkpoint:
        config.load_from, config.resume = str(checkpoint), True
    runner = QuietRunner.from_cfg(config)
    runner.train()
    metrics = last_validation(runner)
    del runner
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return metrics


def validate_stage(config: Config, name: str) -> dict[str, float]:
    """Measure the weights of ``load_from`` on the val split without training.

    Args:
        config: The complete config of a run.
        name: Name of the run, unique in the process.

    Returns:
        Validation metrics by key.
    """
    config = config.copy()
    config.experiment_name, config.custom_hooks = name, []
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        config.pop(key, None)
    metrics = QuietRunner.from_cfg(config).val()
    return {key: float(value) for key, value in metrics.items() if key not in ('time', 'data_time')}


def write_config(config: Config) -> Path:
    """Write a stage's config where ``ssal3d train`` can run it again."""
    path = Path(config.work_dir) / CONFIG_NAME
    if is_main_process():
        with atomic_path(path) as temporary:
            temporary.write_text(config_text(config.to_dict()))
    barrier()
    return path


def last_checkpoint(config: Config) -> Path:
    """Return the checkpoint that a finished stage ends with."""
    return Path(config.work_dir) / f'epoch_{config.train_cfg.max_epochs}.pth'


def last_validation(runner: QuietRunner) -> dict[str, float]:
    """Return the metrics of a finished run; validate now if this process has not (it was resumed at the very end)."""
    if runner.val_loop is None:
        return {}
    scalars = runner.message_hub.log_scalars
    found = {key[4:]: scalars[key].current() for key in scalars if key.startswith('val/')}
    metrics: Mapping[str, Any] = found or runner.val_loop.run()
    return {key: float(value) for key, value in metrics.items() if key not in ('time', 'data_time')}
