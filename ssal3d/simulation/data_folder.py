"""The folder of a simulated data set, whatever its layout: whose it is, which frames are missing, what it holds."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ssal3d.data.conversion import Manifest, run_tasks
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, read_json, remove_leftovers, write_json
from ssal3d.simulation.presets import sensor_preset

Record = dict[str, Any]  # of a frame in the manifest

_SUMMARY = 'simulation.json'
_MANIFEST = 'simulation_frames.json'
_MOST_FRAMES = 1_000_000  # frame ids have six digits


class Job(Protocol):
    """What a worker needs to make a frame."""

    @property
    def out(self) -> Path:
        """Root of the data set."""

    @property
    def frame(self) -> int:
        """Number of the frame."""


AnyJob = TypeVar('AnyJob', bound=Job)


def check_request(frames: int, seed: int, preset: str, val: int, workers: int | None) -> None:
    """Check the arguments of `simulate_kitti` and `simulate_waymo`.

    Raises:
        UserError: If one is out of range.
    """
    sensor_preset(preset)
    if not 1 <= frames <= _MOST_FRAMES:
        raise UserError(f'frames: found {frames}, expected 1 to {_MOST_FRAMES}')
    if seed < 0:
        raise UserError(f'seed: found {seed}, expected a number >= 0')
    if not 0 <= val < frames:
        raise UserError(f'validation frames: found {val}, expected 0 to {frames - 1}, so that one is left for training')
    if workers is not None and workers < 1:
        raise UserError(f'workers: found {workers}, expected 1 or more')


def begin(out: Path, identity: dict[str, Any]) -> None:
    """Note whose folder this is, unless it is noted already.

    Raises:
        UserError: If it is another simulation's, or holds other scans.
    """
    path = out / _SUMMARY
    if not path.exists():
        if (out / 'training' / 'velodyne').exists():
            raise UserError(f'{out}: holds scans that are no simulation; choose another folder with --out')
        write_json(path, {'schema': SCHEMA, **identity, 'complete': False})
        return
    manifest = read_json(path)
    for key, value in identity.items():
        if manifest.get(key) != value:
            raise UserError(
                f'{path}: found {key} {manifest.get(key)!r}, expected {value!r}; a folder holds one simulation, choose '
                'another one with --out'
            )


def make_missing(
    jobs: Sequence[AnyJob],
    make: Callable[[AnyJob], Record],
    files: Callable[[AnyJob, Record], Mapping[Path, int]],
    folders: Iterable[Path],
    workers: int | None,
) -> list[Record]:
    """Make the frames that are missing or have files of another size.

    Args:
        jobs: One for each frame.
        make: Makes a frame, and returns its record for the manifest; importable, for it runs in other processes.
        files: Returns the paths and sizes in bytes of a frame's files, given its record.
        folders: Where files of killed runs may lie, below the root.
        workers: Number of processes; by default one for each core.

    Returns:
        The records of all frames.
    """
    root = jobs[0].out
    manifest = Manifest.read(root / _MANIFEST)
    for folder in folders:
        remove_leftovers(root / folder)
    missing = [job for job in jobs if not _is_complete(job, manifest.records.get(_key(job.frame)), files)]
    running = run_tasks(make, missing, workers or len(os.sched_getaffinity(0)), 'simulating')
    try:
        for record, job in zip(running, missing):  # in this order the progress comes to its end
            manifest.records[_key(job.frame)] = record
            manifest.write(now=False)
    finally:
        running.close()
        manifest.write()
    return [manifest.records[_key(job.frame)] for job in jobs]


def finish(
    out: Path, identity: Mapping[str, Any], records: Sequence[Record], splits: Mapping[str, Sequence[int]], **facts: Any
) -> dict[str, Any]:
    """Write what the folder holds, which completes it, and return it.

    Args:
        out: Folder in which `begin` and the jobs wrote.
        identity: What `begin` noted.
        records: Of all frames.
        splits: Numbers of the frames by split.
        **facts: Further facts of the layout.
    """
    sensor = asdict(sensor_preset(identity['preset']))
    summary = {
        'schema': SCHEMA,
        **identity,
        'complete': True,
        'frames': len(records),
        **facts,
        'sensor': {key: value for key, value in sensor.items() if key != 'elevations'},
        'splits': {name: _totals([records[frame] for frame in members]) for name, members in splits.items() if members},
    }
    write_json(out / _SUMMARY, summary)
    return summary


def _key(frame: int) -> str:
    return f'{frame:06d}'


def _is_complete(job: AnyJob, record: Record | None, files: Callable[[AnyJob, Record], Mapping[Path, int]]) -> bool:
    if record is None:
        return False
    try:
        return all(os.stat(path).st_size == size for path, size in files(job, record).items())
    except FileNotFoundError:
        return False


def _totals(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return frames, sequences, points and objects by class of frames, given their records in the manifest."""
    objects: Counter[str] = Counter()
    for record in records:
        objects.update(record['objects'])
    return {
        'frames': len(records),
        'sequences': len({record['sequence'] for record in records}),
        'points': sum(record['points'] for record in records),
        'objects': dict(sorted(objects.items())),
    }
