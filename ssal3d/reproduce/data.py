"""The frames of a table: simulated streets, a pool per seed and one set to measure on; or KITTI, converted by its user."""

import os
import subprocess
import sys
from pathlib import Path

from ssal3d.errors import UserError

POOL, VAL = 2000, 3000  # frames
VAL_SEED = 900  # of no pool
OTHERS = 20  # frames of a simulation's other split, which nobody reads


def prepare(dataset: str, root: Path, seed: int) -> list[str]:
    """Bring the frames of a seed into place, and return what a training must be told of them.

    Args:
        dataset: ``'sim'`` or ``'kitti'``.
        root: Folder of simulations.
        seed: The seed, which is also that of the pool.

    Returns:
        Changes to the config, ``KEY=VALUE``.

    Raises:
        UserError: If KITTI is not there.
    """
    if dataset == 'kitti':
        folder = Path(os.environ.get('SSAL3D_KITTI', 'data/kitti'))
        if not (folder / 'kitti_infos_train.pkl').exists():
            raise UserError(
                f'{folder}: found no kitti_infos_train.pkl; convert KITTI with `ssal3d create-data kitti`, and name the '
                'folder in SSAL3D_KITTI'
            )
        return []
    val = simulate(root / 'val', VAL + OTHERS, VAL, VAL_SEED)
    pool = simulate(root / f'pool_{seed}', POOL + OTHERS, OTHERS, seed)
    annotations = val / 'kitti_infos_val.pkl'
    return [
        f'data_root={pool}',
        *(f'{name}_dataloader.dataset.data_root={val}' for name in ('val', 'test')),
        *(f'{name}_evaluator.ann_file={annotations}' for name in ('val', 'test')),
    ]


def simulate(folder: Path, frames: int, val: int, seed: int) -> Path:
    """Simulate and convert frames unless they are there; an interrupted simulation goes on.

    Args:
        folder: Where to.
        frames: Frames of both splits.
        val: Those of the val split.
        seed: Seed of the simulation.

    Returns:
        The folder.

    Raises:
        UserError: If it fails; the command has said why.
    """
    if not (folder / 'kitti_infos_val.pkl').exists():
        words = ['--out', str(folder), '--frames', str(frames), '--val', str(val), '--seed', str(seed)]
        for command in (['simulate', *words], ['create-data', 'kitti', '--root-path', str(folder)]):
            if subprocess.run([sys.executable, '-m', 'ssal3d', *command]).returncode:
                raise UserError(f'{folder}: `ssal3d {" ".join(command)}` failed; see above')
    return folder
