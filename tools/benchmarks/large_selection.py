"""A query of CAL on a pool that does not fit into memory: CPU time and peak memory of the whole command.

Frames hold 12 boxes with 64 features, there are predictions of two models, and the budget is 5,000 boxes, counted in
predicted ones. ``--alike`` makes frames so much alike that every one of them has to be compared with the selection
again and again, which is the worst that can happen. ``--folder`` keeps the pool, and takes it from there the next time.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.selection import COMMAND, CONFIGS, Process, row, run_process

from ssal3d.active import Query
from ssal3d.data.label_state import LabelState
from ssal3d.predictions.synthetic import CLASSES, second_model, synthetic_pool, write_predictions

DEFAULT_FRAMES = 100_000
BUDGET = 5000
WIDTH = 64
PART = 1024  # frames of a file
PIECE = 50 * PART  # frames made at a time
NOISE, ALIKE = 0.8, 0.45


def run(frames: int, alike: bool = False, folder: Path | None = None) -> list[dict[str, Any]]:
    """Measure one query.

    Args:
        frames: Size of the pool.
        alike: Whether its frames are much alike.
        folder: Where the pool stays; by default it is deleted.
    """
    with tempfile.TemporaryDirectory() as where:
        place = Path(where) if folder is None else folder
        if not (place / 'labels.json').exists():
            write_pool(place, frames, ALIKE if alike else NOISE)
        process = measure(place)
        bytes_read = sum(path.stat().st_size for path in place.rglob('*.parquet'))
        goal = 15 if frames == 1_000_000 and not alike else None
        return [
            row('whole command, CPU', process.cpu, at_most=goal),
            row('of that for a frame', process.cpu / frames * 1e6, 'us'),
            row('peak memory', process.gigabytes, 'GB', at_most=2),
            row('prediction files', bytes_read / 2**30, 'GB'),
            row('frames selected', len(Query.read(place / 'query.json').frames), 'frames'),
        ]


def measure(folder: Path) -> Process:
    """Run the query on a pool that was written."""
    return run_process(
        [
            *(str(COMMAND), str(CONFIGS / 'cal_kitti.py'), '--predictions', str(folder / 'query_model')),
            *('--reference-predictions', str(folder / 'reference_model'), '--labels', str(folder / 'labels.json')),
            *('--budget', str(BUDGET), '--out', str(folder / 'query.json'), '--force'),
        ]
    )


def write_pool(folder: Path, frames: int, noise: float) -> None:
    """Write the predictions of two models, and who is labelled: nobody."""
    kinds = np.random.default_rng(5).normal(0, 1, (len(CLASSES), WIDTH))
    for number, first in enumerate(range(0, frames, PIECE)):
        pool = synthetic_pool(
            min(PIECE, frames - first),
            seed=number,
            fields=('box_features',),
            width=WIDTH,
            noise=noise,
            first=first,
            kinds=kinds,
        )
        write_predictions(pool, folder / 'query_model', PART, first_part=first // PART)
        write_predictions(second_model(pool, seed=frames + number), folder / 'reference_model', PART, first // PART)
    ids = [f'{number:06d}' for number in range(frames)]
    LabelState.empty(CLASSES, 'synthetic', ids).write(folder / 'labels.json')
