"""The frames of a table: simulated (a pool per seed, one set to measure on), or real ones of the user."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ssal3d.errors import UserError

VAL_SEED = 900  # of no pool
OTHERS = 20  # frames of a simulation's other split, which nobody reads
SIMULATED = {  # frames of a pool and to measure on, words that choose the preset, annotation file
    'sim': (2000, 3000, (), 'kitti_infos_val.pkl'),
    'sim-360': (400, 200, ('--preset', 'waymo'), 'waymo_infos_val.pkl'),  # drives of ten frames each
}
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
        variable, usual, file = REAL[dataset]
        folder = Path(os.environ.get(variable, usual))
        if not (folder / file).exists():
            raise UserError(
                f'{folder}: found no {file}; convert the data with `ssal3d create-data {dataset}`, and name the '
                f'folder in {variable}'
            )
        return []
    pool_frames, val_frames, preset, name = SIMULATED[dataset]
    val = simulate(root / 'val', val_frames + OTHERS, val_frames, VAL_SEED, preset)
    pool = simulate(root / f'pool_{seed}', pool_frames + OTHERS, OTHERS, seed, preset)
    annotations = val / name
    return [
        f'data_root={pool}',
        *(f'{name}_dataloader.dataset.data_root={val}' for name in ('val', 'test')),
        *(f'{name}_evaluator.ann_file={annotations}' for name in ('val', 'test')),
    ]


def simulate(folder: Path, frames: int, val: int, seed: int, preset: Sequence[str] = ()) -> Path:
    """Simulate and convert frames unless they are there; an interrupted simulation goes on.

    Args:
        folder: Where to.
        frames: Frames of both splits.
        val: Those of the val split.
        seed: Seed of the simulation.
        preset: Words for the command line that choose another preset than KITTI's; such a simulation needs no
            conversion.

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
