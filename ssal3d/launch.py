"""What the commands that train or predict share: config, launchers, devices."""

import argparse
import os
from importlib import import_module
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from ssal3d import compat
from ssal3d.configs import read_config, require_parts
from ssal3d.devices import require_usable_gpu
from ssal3d.log import quieten


def load_config(arguments: argparse.Namespace, *parts: str) -> Config:
    """Read the config of a command and apply its options.

    Args:
        arguments: Of the command.
        parts: Top-level keys that the command needs.

    Raises:
        UserError: If the file is missing, is not a config or lacks a part, or if torch sees a GPU that mmcv or spconv
            cannot use.
    """
    compat.apply_preferences()
    quieten(MMLogger.get_instance('mmengine'))  # what MMEngine says before there is a runner
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    require_usable_gpu()
    import_module('ssal3d.register')  # a child config's own custom_imports take the place of those that name it
    config = read_config(arguments.config, arguments.cfg_options)
    require_parts(config, arguments.config, *parts)
    config.launcher = arguments.launcher
    if not torch.cuda.is_available():
        config.merge_from_dict({'env_cfg.dist_cfg': {'backend': 'gloo'}})
        if 'OMP_NUM_THREADS' not in os.environ:  # threads that wait for work starve the loader's processes
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    return config


def default_work_dir(arguments: argparse.Namespace, config: Config) -> str:
    """Return ``--work-dir``, else the config's, else ``work_dirs/<config name>``."""
    given = getattr(arguments, 'work_dir', None) or config.get('work_dir')
    return str(given or Path('work_dirs') / Path(arguments.config).stem)
