"""The whole of S-SSAL in one command, with pauses allowed: convert the data, run the experiment, print its tables.

Example:
    python tools/demo.py --data data/kitti_mini
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from ssal3d.errors import UserError, command
from ssal3d.terminal import console

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/ssal/pvrcnn_kitti_mini.py'


@command
def main() -> int:
    """Run the two commands that a user would type, and show them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='', help='folder in the KITTI object layout; it is only read')
    parser.add_argument('--work-dir', default='work_dirs/demo', help='folder of everything that is written')
    parser.add_argument('--config', default=CONFIG, help=f'the experiment (default: {CONFIG})')
    arguments, options = parser.parse_known_args()
    if not (arguments.data and (Path(arguments.data) / 'training').is_dir()):
        raise UserError(
            f'{arguments.data or "no folder"}: expected training/velodyne, label_2, calib and ImageSets; '
            'run: make demo DATA=<folder in the KITTI object layout>'
        )
    data = Path(arguments.work_dir).resolve() / 'data'
    convert = ['tools/create_data.py', 'kitti', '--root-path', str(Path(arguments.data).resolve())]
    _run([*convert, '--out-dir', str(data)])
    train = ['tools/train.py', arguments.config, '--work-dir', str(data.with_name('run')), '--resume']
    _run([*train, *options], SSAL3D_KITTI=str(data))
    return 0


def _run(arguments: list[str], **environment: str) -> None:
    """Run one of our commands; its failure is ours."""
    shown = [f'{name}={value}' for name, value in environment.items()]
    console.print(f'[bold]$ {" ".join([*shown, "python", *arguments])}', highlight=False, soft_wrap=True)
    result = subprocess.run([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment})
    if result.returncode:
        sys.exit(result.returncode)


if __name__ == '__main__':
    main()
