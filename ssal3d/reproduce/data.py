"""The frames of a table: simulated, a pool per seed and one set to measure on; or real ones, converted by their user."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ssal3d.errors import UserError

POOL, VAL = 2000, 3000  # frames of simulated streets
POOL_360, VAL_360 = 400, 200  # frames of simulated drives, ten each
VAL_SEED = 900  # of no pool
OTHERS = 20  # frames of a simulation's other split, which nobody reads
REAL = {  # environment variable with the folder, its usual name, the annotation file
    'kitti': ('SSAL3D_KITTI', 'data/kitti', 'kitti_infos_train.pkl'),
    'waymo': ('SSAL3D_WAYMO', 'data/waymo', 'waymo_infos_train.pkl'),
}


def prepare(dataset: str, root: Path, seed: int) -> list[str]:
    """Bring the frames of a seed into place, and return what a training must be told of them.

    Args:
        dataset: Name of a `DataSet`.
        root: Folder of its simulations.
        seed: The seed, which is also that of the pool.

    Returns:
        Changes to the config, ``KEY=VALUE``.

    Raises:
        UserError: If the real data are not there.
    """
    if dataset in REAL:
        variable, usual, annotations = REAL[dataset]
        folder = Path(os.environ.get(variable, usual))
        if not (folder / annotations).exists():
            raise UserError(
                f'{folder}: found no {annotations}; convert the data with `ssal3d create-data {dataset}`, and name the '
                f'folder in {variable}'
            )
        return []
    if dataset == 'sim-360':
        words, name = ['--preset', 'waymo'], 'waymo_infos_val.pkl'
        sizes = (POOL_360, VAL_360)
    else:
        words, name = [], 'kitti_infos_val.pkl'
        sizes = (POOL, VAL)
    val = simulate(root / 'val', sizes[1] + OTHERS, sizes[1], VAL_SEED, words)
    pool = simulate(root / f'pool_{seed}', sizes[0] + OTHERS, OTHERS, seed, words)
    annotated = val / name
    return [
        f'data_root={pool}',
        *(f'{name}_dataloader.dataset.data_root={val}' for name in ('val', 'test')),
        *(f'{name}_evaluator.ann_file={annotated}' for name in ('val', 'test')),
    ]


def simulate(folder: Path, frames: int, val: int, seed: int, preset: Sequence[str] = ()) -> Path:
    """Simulate and convert frames unless they are there; an interrupted simulation goes on.

    Args:
        folder: Where to.
        frames: Frames of both splits.
        val: Those of the val split.
        seed: Seed of the simulation.
        preset: Words for the command line that choose another preset than KITTI's; such a simulation needs no conversion.

    Returns:
        The folder.

    Raises:
        UserError: If it fails; the command has said why.
    """
    if not any(folder.glob('*_infos_val.pkl')):
        words = ['--out', str(folder), '--frames', str(frames), '--val', str(val), '--seed', str(seed), *preset]
        commands = [['simulate', *words]]
        if not preset:
            commands.append(['create-data', 'kitti', '--root-path', str(folder)])
        for command in commands:
            if subprocess.run([sys.executable, '-m', 'ssal3d', *command]).returncode:
                raise UserError(f'{folder}: `ssal3d {" ".join(command)}` failed; see above')
    return folder
