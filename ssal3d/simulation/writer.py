"""Simulate a data set in the official KITTI object layout: parallel, resumable, the same bytes whoever makes a frame."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssal3d.data.conversion import Manifest, run_tasks
from ssal3d.data.kitti_objects import format_objects
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, atomic_path, exclusive, read_json, remove_leftovers, write_json
from ssal3d.simulation.camera import IMAGE_SIZE, calibration_text
from ssal3d.simulation.frame import simulate_frame
from ssal3d.simulation.presets import VERSION, sensor_preset
from ssal3d.simulation.sequences import split_frames

SUMMARY = 'simulation.json'
MANIFEST = 'simulation_frames.json'
_KINDS = {'velodyne': '.bin', 'calib': '.txt', 'planes': '.txt', 'label_2': '.txt'}
_MOST_FRAMES = 1_000_000  # frame ids have six digits


@dataclass(frozen=True)
class FrameJob:
    """What a worker needs to make a frame.

    Attributes:
        out: Root of the data set.
        seed: Of the simulation.
        frame: Number of the frame.
        preset: Sensor.
        planes: Whether to write road planes.
    """

    out: Path
    seed: int
    frame: int
    preset: str
    planes: bool

    @property
    def frame_id(self) -> str:
        """The frame's file stem."""
        return f'{self.frame:06d}'

    def path(self, kind: str) -> Path:
        """Return the path of one of the frame's files."""
        return self.out / 'training' / kind / f'{self.frame_id}{_KINDS[kind]}'

    def kinds(self) -> list[str]:
        """Return the kinds of files the frame has."""
        return [kind for kind in _KINDS if kind != 'planes' or self.planes]


def simulate_kitti(
    out: str | Path,
    frames: int,
    seed: int = 0,
    *,
    preset: str = 'kitti',
    val: int = 0,
    planes: bool = True,
    workers: int | None = None,
) -> dict[str, Any]:
    """Write frames ``0 ... frames - 1`` of a simulation, those that are not there yet.

    Args:
        out: Folder to write; an unfinished simulation in it is continued, a finished one may be made longer.
        frames: Number of frames.
        seed: Any number >= 0.
        preset: Sensor, a key of `PRESETS` with the layout ``'kitti'``.
        val: Frames for the validation split, in whole sequences.
        planes: Also write road planes.
        workers: Number of processes; by default one for each core.

    Returns:
        What `simulation.json` says: identity, and frames, points and objects by class of each split.

    Raises:
        UserError: If an argument is out of range, the folder belongs to another simulation or cannot be written.
    """
    out = Path(out)
    check_request(frames, seed, preset, val, workers)
    identity = {'simulation': 'ssal3d', 'version': VERSION, 'seed': seed, 'preset': preset, 'planes': planes}
    with exclusive(out, '--out'):
        begin(out, identity)
        train, validation = split_frames(seed, frames, val)
        records = _simulate([FrameJob(out, seed, f, preset, planes) for f in range(frames)], workers or cores())
        splits = {'train': train, 'val': validation, 'trainval': sorted([*train, *validation])}
        for name, members in splits.items():
            _write_split(out, name, members)
        summary = {
            'schema': SCHEMA,
            **identity,
            'complete': True,
            'frames': frames,
            'image_size': list(IMAGE_SIZE),
            'sensor': {key: value for key, value in asdict(sensor_preset(preset)).items() if key != 'elevations'},
            'splits': {name: totals([records[f] for f in members]) for name, members in splits.items() if members},
        }
        write_json(out / SUMMARY, summary)
    return summary


def make_frame(job: FrameJob) -> tuple[str, dict[str, Any]]:
    """Simulate a frame and write its files; return its key and record for the manifest."""
    made = simulate_frame(job.seed, job.frame, job.preset)
    contents = {
        'velodyne': made.scan.points.tobytes(),
        'calib': calibration_text().encode(),
        'planes': _plane_text(made.plane.tolist()).encode(),
        'label_2': format_objects(made.objects).encode(),
    }
    for kind in job.kinds():
        with atomic_path(job.path(kind)) as temporary:
            temporary.write_bytes(contents[kind])
    record = {
        'bytes': {kind: len(contents[kind]) for kind in job.kinds()},
        'sequence': made.step.sequence,
        'style': made.style,
        'points': len(made.scan.points),
        'objects': dict(sorted(Counter(made.objects.names.tolist()).items())),
    }
    return job.frame_id, record


def _simulate(jobs: Sequence[FrameJob], workers: int) -> list[dict[str, Any]]:
    """Make the frames that are missing or have files of another size; return the records of all."""
    root = jobs[0].out
    manifest = Manifest.read(root / MANIFEST)
    for kind in _KINDS:
        remove_leftovers(root / 'training' / kind)
    missing = [job for job in jobs if not _is_complete(job, manifest.records.get(job.frame_id))]
    running = run_tasks(make_frame, missing, workers, 'simulating')
    try:
        for frame_id, record in running:
            manifest.records[frame_id] = record
            manifest.write(now=False)
    finally:
        running.close()
        manifest.write()
    return [manifest.records[job.frame_id] for job in jobs]


def _is_complete(job: FrameJob, record: dict[str, Any] | None) -> bool:
    if record is None:
        return False
    try:
        return all(os.stat(job.path(kind)).st_size == size for kind, size in record['bytes'].items())
    except FileNotFoundError:
        return False


def totals(records: list[dict[str, Any]]) -> dict[str, Any]:
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


def _write_split(out: Path, name: str, members: list[int]) -> None:
    path = out / 'ImageSets' / f'{name}.txt'
    if members:
        with atomic_path(path) as temporary:
            temporary.write_text(''.join(f'{frame:06d}\n' for frame in members))
    else:
        path.unlink(missing_ok=True)  # converters want no empty lists


def _plane_text(plane: list[float]) -> str:
    header = '# Matrix\nWIDTH 4\nHEIGHT 1\n'
    return header + ' '.join(f'{value:.6e}' for value in plane) + '\n'


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
    path = out / SUMMARY
    if not path.exists():
        if (out / 'training' / 'velodyne').exists():
            raise UserError(f'{out}: holds scans that are no simulation; choose another folder with --out')
        write_json(path, {'schema': SCHEMA, **identity, 'complete': False})
        return
    found = read_json(path)
    for key, value in identity.items():
        if found.get(key) != value:
            raise UserError(
                f'{path}: found {key} {found.get(key)!r}, expected {value!r}; a folder holds one simulation, choose '
                'another one with --out'
            )


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
