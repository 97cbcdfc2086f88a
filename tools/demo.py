"""The whole of S-SSAL in one command, with pauses allowed: get frames, convert them, run the experiment, print its tables.

Example:
    python tools/demo.py                            simulated streets
    python tools/demo.py --data data/kitti_mini     real frames
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from ssal3d.errors import UserError, command
from ssal3d.terminal import console

ROOT = Path(__file__).resolve().parents[1]
SIMULATED, REAL = 'configs/ssal/pvrcnn_sim.py', 'configs/ssal/pvrcnn_kitti_mini.py'
FRAMES, VAL_FRAMES = '900', '300'
# Without a GPU; a process keeps one core busy.
TWO_PROCESSES = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', '--local-ranks-filter', '0')


@command
def main() -> int:
    """Run the commands that a user would type, and show them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', help='folder in the KITTI object layout, only read (default: simulate streets)')
    parser.add_argument('--work-dir', help='folder of all that is written (default: work_dirs/demo or demo_real)')
    parser.add_argument('--config', help=f'the experiment (default: {SIMULATED}, with --data {REAL})')
    arguments, options = parser.parse_known_args()
    if arguments.data is not None and not (Path(arguments.data) / 'training').is_dir():
        raise UserError(
            f'{arguments.data or "no folder"}: expected training/velodyne, label_2, calib and ImageSets; '
            'run: make demo DATA=<folder in the KITTI object layout>'
        )
    import torch

    work = Path(arguments.work_dir or 'work_dirs/demo' + ('_real' if arguments.data else '')).resolve()
    data = work / 'data'
    run = ['--work-dir', str(work / 'run'), '--resume', *options]
    if arguments.data is None:
        _run(['tools/simulate.py', '--out', str(data), '--frames', FRAMES, '--val', VAL_FRAMES])
        _run(['tools/create_data.py', 'kitti', '--root-path', str(data)])
        launch, launcher = ([], 'none') if torch.cuda.is_available() else (TWO_PROCESSES, 'pytorch')
        train = [*launch, 'tools/train.py', arguments.config or SIMULATED, '--launcher', launcher, *run]
        _run(train, SSAL3D_SIM=str(data))
    else:
        root = str(Path(arguments.data).resolve())
        _run(['tools/create_data.py', 'kitti', '--root-path', root, '--out-dir', str(data)])
        _run(['tools/train.py', arguments.config or REAL, *run], SSAL3D_KITTI=str(data))
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
