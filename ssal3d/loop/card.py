"""The card of an experiment, ``experiment.json``: what its folder is about, for reports and people."""

import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmengine.config import Config

from ssal3d.fileio import SCHEMA, write_json
from ssal3d.machine import machine, own_version

NAME = 'experiment.json'
PACKAGES = (
    'torch',
    'mmengine',
    'mmcv',
    'mmcv-lite',
    'mmdet',
    'mmdet3d',
    'spconv',
    'numpy',
    'numba',
    'pyarrow',
    'scikit-learn',
)


def write_card(config: Config, work_dir: Path, command: Sequence[str]) -> None:
    """Write the card; a resumed run writes it again.

    Args:
        config: The experiment's config.
        work_dir: The experiment's folder.
        command: The command line.
    """
    pool = config.pool_dataset
    content = {
        'schema': SCHEMA,
        'name': Path(config.filename).stem if config.filename else work_dir.name,
        'command': shlex.join(command),
        'seed': config.randomness.get('seed'),
        'classes': list(pool.metainfo['classes']),
        'pool': {
            'data_root': str(Path(pool.data_root).resolve()),
            'ann_file': pool.ann_file,
            'points': pool.get('data_prefix', {}).get('pts', ''),
        },
        'versions': _versions(),
        'machine': machine(),
    }
    write_json(work_dir / NAME, content)


def _versions() -> dict[str, str]:
    versions = {'ssal3d': own_version(), 'python': platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # mmcv or mmcv-lite, one of many builds of spconv
            continue
    return versions
