"""Simulate a data set in the official KITTI object layout: parallel, resumable, reproducible to the byte."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssal3d.data.kitti_objects import format_objects
from ssal3d.fileio import atomic_path, exclusive
from ssal3d.simulation.camera import IMAGE_SIZE, calibration_text
from ssal3d.simulation.data_folder import Record, begin, check_request, finish, make_missing
from ssal3d.simulation.frame import simulate_frame
from ssal3d.simulation.presets import VERSION
from ssal3d.simulation.sequences import split_frames

_KINDS = {'velodyne': '.bin', 'calib': '.txt', 'planes': '.txt', 'label_2': '.txt'}


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
        jobs = [FrameJob(out, seed, frame, preset, planes) for frame in range(frames)]
        records = make_missing(jobs, make_frame, _files, [Path('training') / kind for kind in _KINDS], workers)
        splits = {'train': train, 'val': validation, 'trainval': sorted([*train, *validation])}
        for name, members in splits.items():
            _write_split(out, name, members)
        return finish(out, identity, records, splits, image_size=list(IMAGE_SIZE))


def make_frame(job: FrameJob) -> Record:
    """Simulate a frame and write its files; return its record for the manifest."""
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
    return {
        'bytes': {kind: len(contents[kind]) for kind in job.kinds()},
        'sequence': made.step.sequence,
        'style': made.style,
        'points': len(made.scan.points),
        'objects': dict(sorted(Counter(made.objects.names.tolist()).items())),
    }


def _files(job: FrameJob, record: Record) -> dict[Path, int]:
    """Return the paths and sizes of a frame's files."""
    return {job.path(kind): size for kind, size in record['bytes'].items()}


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
