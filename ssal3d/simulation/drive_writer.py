"""Simulate drives in the layout that the Waymo converter writes: scans, and annotation files for `WaymoDataset`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssal3d.data.infos import write_infos
from ssal3d.data.waymo_infos import CATEGORIES, METAINFO, frame_info
from ssal3d.fileio import atomic_path, exclusive
from ssal3d.simulation.data_folder import Record, begin, check_request, finish, make_missing
from ssal3d.simulation.drive import drive_step_of
from ssal3d.simulation.drive_frame import simulate_drive_frame
from ssal3d.simulation.presets import VERSION
from ssal3d.simulation.sequences import split_frames

_SCANS = Path('training') / 'velodyne'
_NAMES = {label: name for name, label in CATEGORIES.items()}


@dataclass(frozen=True)
class DriveJob:
    """What a worker needs to make a frame.

    Attributes:
        out: Root of the data set.
        seed: Of the simulation.
        frame: Number of the frame.
        preset: Sensor.
    """

    out: Path
    seed: int
    frame: int
    preset: str


def simulate_waymo(
    out: str | Path, frames: int, seed: int = 0, *, preset: str = 'waymo', val: int = 0, workers: int | None = None
) -> dict[str, Any]:
    """Write frames ``0 ... frames - 1`` of simulated drives, those that are not there yet, and their annotation files.

    Args:
        out: Folder to write; an unfinished simulation in it is continued, a finished one may be made longer.
        frames: Number of frames; ten are a drive.
        seed: Any number >= 0.
        preset: Sensor, a key of `PRESETS` with the layout ``'waymo'``.
        val: Frames for the validation split, in whole drives.
        workers: Number of processes; by default one for each core.

    Returns:
        What `simulation.json` says: identity, and frames, points and objects by class of each split.

    Raises:
        UserError: If an argument is out of range, the folder belongs to another simulation or cannot be written.
    """
    out = Path(out)
    check_request(frames, seed, preset, val, workers)
    identity = {'simulation': 'ssal3d', 'version': VERSION, 'seed': seed, 'preset': preset}
    with exclusive(out, '--out'):
        begin(out, identity)
        jobs = [DriveJob(out, seed, frame, preset) for frame in range(frames)]
        records = make_missing(jobs, make_drive_frame, _files, [_SCANS], workers)
        train, validation = split_frames(seed, frames, val, drive_step_of)
        splits = {'train': train, 'val': validation}
        for name, members in splits.items():
            content = {'metainfo': METAINFO, 'data_list': [records[frame]['info'] for frame in members]}
            if members:
                write_infos(out / f'waymo_infos_{name}.pkl', content)
        return finish(out, identity, records, splits)


def make_drive_frame(job: DriveJob) -> Record:
    """Simulate a frame and write its scan; return its record for the manifest."""
    made = simulate_drive_frame(job.seed, job.frame, job.preset)
    info = frame_info(made.frame, len(made.points))
    with atomic_path(job.out / _SCANS / info['lidar_points']['lidar_path']) as temporary:
        temporary.write_bytes(made.points.tobytes())
    objects = dict.fromkeys(CATEGORIES, 0)
    for row in info['instances']:
        objects[_NAMES[row['bbox_label_3d']]] += 1
    return {
        'bytes': made.points.nbytes,
        'sequence': made.step.sequence,
        'style': made.style,
        'points': len(made.points),
        'objects': objects,
        'info': info,
    }


def _files(job: DriveJob, record: Record) -> dict[Path, int]:
    """Return the path and size of a frame's scan."""
    return {job.out / _SCANS / record['info']['lidar_points']['lidar_path']: record['bytes']}
