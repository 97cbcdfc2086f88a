"""What the mm-style commands share: options, config, launchers, devices."""

import argparse
import os
from pathlib import Path

import torch
from mmengine.config import Config, DictAction

from ssal3d import compat
from ssal3d.devices import require_usable_gpu
from ssal3d.errors import UserError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add ``config``, ``--cfg-options`` and ``--launcher``."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='changes to the config, e.g. budget=100',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='how several processes were started')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(arguments: argparse.Namespace) -> Config:
    """Read the config of a command and apply its options.

    Raises:
        UserError: If the file is missing or is no config, or if torch sees a GPU that mmcv or spconv cannot use.
    """
    compat.apply_all()
    os.environ.setdefault('LOCAL_RANK', str(arguments.local_rank))
    require_usable_gpu()
    if not Path(arguments.config).is_file():
        raise UserError(f'{arguments.config}: no such config; ready ones are in configs/')
    try:
        config = Config.fromfile(arguments.config)
    except (SyntaxError, FileNotFoundError, KeyError) as error:
        raise UserError(f'{arguments.config}: {type(error).__name__}: {error}') from None
    if arguments.cfg_options:
        config.merge_from_dict(arguments.cfg_options)
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
