"""The card of an experiment, ``experiment.json``: what its folder is about, for reports and people."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from ssal3d import env
from ssal3d.fileio import SCHEMA, write_json

NAME = 'experiment.json'


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
        'versions': env.collect()['versions'],
    }
    write_json(work_dir / NAME, content)
