"""Numbers of finished experiments: one line per row, seed and class, in a CSV that grows."""

import csv
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssal3d.fileio import atomic_open, read_json
from ssal3d.reproduce.experiments import Experiment, is_finished
from ssal3d.version import __version__

SHORT = {'Car': 'Car', 'Pedestrian': 'Ped', 'Cyclist': 'Cyc'}
DIFFICULTIES = {'easy': 'easy', 'moderate': 'mod', 'hard': 'hard'}
KINDS = {'3d': '', 'bev': '_BEV'}  # the paper prints 3D


class Result(NamedTuple):
    """One number of one run.

    Attributes:
        dataset: ``'sim'`` or ``'kitti'``.
        experiment: Name of the experiment, e.g. ``'CPSP-CAL-CPSP'``.
        seed: Its seed.
        metric: As the paper's tables have it, e.g. ``'Ped_mod_mAP'``; ``'Ped_mod_BEV_mAP'`` for bird's-eye view;
            ``'frames'``, ``'boxes'``, ``'boxes_Car'``, ... for what was labelled.
        value: % or a count.
        version: Version and commit of ssal3d.
        machine: What it ran on.
    """

    dataset: str
    experiment: str
    seed: int
    metric: str
    value: float
    version: str
    machine: str


def collect(dataset: str, experiments: Iterable[Experiment]) -> list[Result]:
    """Read the results of those experiments that are finished.

    Args:
        dataset: ``'sim'`` or ``'kitti'``.
        experiments: The experiments.
    """
    about = version(), machine()
    return [
        Result(dataset, experiment.row.experiment, experiment.seed, metric, value, *about)
        for experiment in dict.fromkeys(experiments)
        if is_finished(experiment)
        for metric, value in measured(experiment).items()
    ]


def measured(experiment: Experiment) -> dict[str, float]:
    """Return what a finished experiment measured of its final model, and what it labelled.

    Args:
        experiment: The experiment.
    """
    content = read_json(experiment.folder / 'metrics.json')
    final = content['stages'][list(experiment.steps.values())[-1]]
    flat = {key.rpartition('/')[2]: value for key, value in final.items()}
    found: dict[str, float] = {}
    for kind, mark in KINDS.items():
        for difficulty, short in DIFFICULTIES.items():
            values = [flat[f'{name}_{kind}_R40_{difficulty}'] for name in SHORT]
            found |= {f'{SHORT[name]}_{short}{mark}_mAP': value for name, value in zip(SHORT, values)}
            found[f'Avg_{short}{mark}_mAP'] = float(np.mean(values))
    counts = content['labelled']['boxes']
    found |= {'frames': content['labelled']['frames'], 'boxes': sum(counts.values())}
    return found | {f'boxes_{name}': count for name, count in counts.items()}


def merge(path: Path, results: Sequence[Result]) -> list[Result]:
    """Put results into a CSV file; a run that is there already is replaced.

    Args:
        path: The file; it need not exist.
        results: New results.

    Returns:
        Everything that the file holds now.
    """
    new = {(result.dataset, result.experiment, result.seed) for result in results}
    old = [result for result in read(path) if (result.dataset, result.experiment, result.seed) not in new]
    rows = sorted([*old, *results], key=lambda row: row[:3])
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path, 'w') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(Result._fields)
        writer.writerows([*row[:4], f'{row.value:.4g}', *row[5:]] for row in rows)
    return rows


def read(path: Path) -> list[Result]:
    """Read a CSV file of results; a file that does not exist holds none.

    Args:
        path: The file.
    """
    if not path.exists():
        return []
    with path.open(newline='') as file:
        return [
            Result(row['dataset'], row['experiment'], int(row['seed']), row['metric'], float(row['value']), *about)
            for row in csv.DictReader(file)
            if (about := (row['version'], row['machine']))
        ]


def version() -> str:
    """Return the version of ssal3d with the commit, if it runs from a repository."""
    command = ['git', '-C', str(Path(__file__).parent), 'rev-parse', '--short=10', 'HEAD']
    try:
        commit = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:  # no git
        commit = ''
    return f'{__version__}+{commit}' if commit else __version__


def machine() -> str:
    """Return the name of the processor or the graphics card that trains."""
    import torch

    from ssal3d.env import cpu_name

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else cpu_name()
