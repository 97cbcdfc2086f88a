"""What lies where in a folder of own data: scans, sequences, split lists, poses and times."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssal3d.data.folder.point_files import SUFFIXES
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import is_file_name, read_json, read_text

SCAN_FOLDERS = ('points', 'velodyne', 'lidar', 'scans', 'pcd', 'clouds')
LIST_FOLDERS = ('ImageSets', 'splits')
_HALF_CHARACTER = re.compile(r'[\ud800-\udfff]')  # stands for a byte of a name that is not UTF-8
_OTHER_FOLDERS = {*LIST_FOLDERS, 'labels', 'label_2', 'calib', 'images', 'image_2'}
JOINT = '__'  # between the parts of a frame's path in its id
MANIFEST = 'manifest.json'  # in a folder that a converter wrote
EXPORT = 'ssal3d_export.json'  # in a batch that was written for annotators


@dataclass(frozen=True)
class FoundScan:
    """A scan and what its place says.

    Attributes:
        frame_id: Stem of the file, behind its sequence if there are sequences.
        path: The file.
        sequence: Folder of the recording; '' without sequences.
        pose: Sixteen numbers of the ``(4, 4)`` matrix LiDAR to world, row by row.
        time: Seconds.
        forward: Axis of the file that points forward: ``x``, or ``y`` if x points to the right.
    """

    frame_id: str
    path: Path
    sequence: str
    pose: tuple[float, ...] | None = None
    time: float | None = None
    forward: str = 'x'


def find_scans(root: Path, out: Path) -> list[FoundScan]:
    """Find all scans in the order of recording: by sequence, then by the numbers in their names.

    Args:
        root: Scans lie in it, in one of `SCAN_FOLDERS` in it, or in folders of sequences. What ssal3d wrote below it is
            passed over: copies of its scans are no further frames.
        out: Where the conversion writes; passed over.

    Raises:
        UserError: If there is no scan, two files give the same frame, a name cannot be an id, or poses and scans differ
            in number.
    """
    if not root.is_dir():
        raise UserError(f'{root}: no such folder; expected scans ({", ".join(SUFFIXES)}) in it')
    result = out.resolve()

    def passed_over(folder: Path) -> bool:
        return folder.name in _OTHER_FOLDERS or folder.resolve() == result or _is_ours(folder)

    found: dict[str, FoundScan] = {}
    for path in sorted(files_below(root, passed_over)):
        if path.suffix.lower() not in SUFFIXES:
            continue
        sequence, frame = place_of(path.relative_to(root))
        check_frame_id(frame, path)
        if frame in found:
            raise UserError(f'{path}: frame {frame} is already {found[frame].path}; keep one of the files')
        found[frame] = FoundScan(frame, path, sequence)
    if not found:
        raise UserError(f'{root}: no scan in it; expected files that end in {", ".join(SUFFIXES)}')
    by_sequence: dict[str, list[FoundScan]] = defaultdict(list)
    for scan in sorted(found.values(), key=lambda scan: (natural(scan.sequence), natural(scan.frame_id))):
        by_sequence[scan.sequence].append(scan)
    return [scan for scans in by_sequence.values() for scan in _with_poses(root, scans)]


def files_below(root: Path, passed_over: Callable[[Path], bool] = lambda folder: False) -> Iterator[Path]:
    """Find the files below a folder, also behind links to folders; hidden names are none of the user's.

    A folder is entered once, by its own path rather than by a link to it, and no link leads up and out of ``root``.

    Args:
        root: Where to look.
        passed_over: Whether a folder below it is not entered.

    Yields:
        Paths that begin with ``root``, in no order.
    """
    folders, links = [root], list[Path]()
    seen = set(root.resolve().parents)
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        if folder.resolve() in seen or (folder != root and passed_over(folder)):
            continue
        seen.add(folder.resolve())
        with os.scandir(folder) as listing:
            entries = sorted((entry for entry in listing if not is_hidden(entry.name)), key=lambda entry: entry.name)
        for entry in entries:
            path = folder / entry.name
            if entry.is_symlink() and path.is_dir():
                links.append(path)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                yield path


def is_hidden(name: str) -> bool:
    """Whether a file is none that a person put there: macOS leaves ``._000.bin``, a killed run ``.street.81.tmp``."""
    return name.startswith('.')


def place_of(path: Path) -> tuple[str, str]:
    """Return the sequence and the frame id that the path of a scan, or of its labels, says.

    >>> place_of(Path('street_1/points/7.pcd')), place_of(Path('points/7.pcd'))
    (('street_1', 'street_1__7'), ('', '7'))
    """
    sequence = JOINT.join(part for part in path.parts[:-1] if part not in SCAN_FOLDERS)
    return sequence, JOINT.join((sequence, scan_stem(path))) if sequence else scan_stem(path)


def check_frame_id(frame: str, where: object) -> None:
    """Refuse an id that a file name, JSON or a line of a list cannot hold; all of them carry it.

    Args:
        frame: The id.
        where: The scan's file, or what else names it, for the message and because records name it, too.

    Raises:
        UserError: If it is none.
    """
    if not is_file_name(frame) or _HALF_CHARACTER.search(str(where)):
        raise UserError(
            f'{str(where)!r}: found a name that is not UTF-8, has a sign that cannot be printed, or a backslash; rename the '
            'file or folder'
        )


def scan_stem(path: Path) -> str:
    """Return the name of a scan without its ending, which is ``.pcd.bin`` in nuScenes and T4.

    >>> scan_stem(Path('samples/LIDAR_TOP/00007.pcd.bin'))
    '00007'
    """
    return path.stem.removesuffix('.pcd')


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts ``scan_10`` behind ``scan_9``."""
    parts = re.split(r'(\d+)', name)
    return tuple((1, int(part)) if part.isdecimal() else (0, part) for part in parts if part)


def read_lists(root: Path, scans: Sequence[FoundScan], names: Sequence[str] | None) -> dict[str, list[str]]:
    """Read the split lists; without any, all frames are ``train``.

    Args:
        root: Lists are ``ImageSets/NAME.txt`` or ``splits/NAME.txt``: a frame id, or the path of a scan, a line.
        scans: What `find_scans` returns.
        names: Lists to read; by default all.

    Returns:
        Frame ids by name, in the order of the list.

    Raises:
        UserError: If a list is unknown, empty, or names a frame that is not there, or twice.
    """
    paths = {path.stem: path for folder in LIST_FOLDERS for path in sorted((root / folder).glob('*.txt'))}
    if not paths and names:
        raise UserError(f'{root}: no split lists; expected {LIST_FOLDERS[0]}/{names[0]}.txt with a frame id a line')
    if not paths:
        return {'train': [scan.frame_id for scan in scans]}
    for name in names or ():
        if name not in paths:
            raise unknown_name('split', name, list(paths))
    frame_of_name = {scan.frame_id: scan.frame_id for scan in scans}
    for scan in scans:
        relative = scan.path.relative_to(root)
        frame_of_name |= {str(relative): scan.frame_id, str(relative.with_suffix('')): scan.frame_id}
        frame_of_name.setdefault(scan.path.name, scan.frame_id)
    return {name: _read_list(paths[name], frame_of_name) for name in (names or paths)}


def hold_out(scans: Sequence[FoundScan], labelled: set[str], share: float) -> dict[str, list[str]]:
    """Split frames for which there are no lists: the last labelled ones measure, so that few neighbours are in both.

    Args:
        scans: All frames in the order of recording.
        labelled: Ids of the labelled ones; only these can measure.
        share: Of the labelled frames, in (0, 1).

    Raises:
        UserError: If nothing would be left to train on or to measure on.
    """
    labelled_scans = [scan for scan in scans if scan.frame_id in labelled]
    held_out = round(share * len(labelled_scans))
    if not 0 < held_out < len(labelled_scans):
        raise UserError(
            f'--val-share: {share:g} of {len(labelled_scans)} labelled frames are {held_out}, expected some and not all; label more '
            'frames or give another share'
        )
    measured = {scan.frame_id for scan in labelled_scans[-held_out:]}
    return {
        'train': [scan.frame_id for scan in scans if scan.frame_id not in measured],
        'val': [scan.frame_id for scan in scans if scan.frame_id in measured],
    }


def _is_ours(folder: Path) -> bool:
    """Whether a folder is a batch for annotators or a converted data set."""
    try:
        return (folder / EXPORT).exists() or 'frames' in read_json(folder / MANIFEST)
    except UserError:  # no manifest, or that of something else
        return False


def _read_list(path: Path, frame_of_name: Mapping[str, str]) -> list[str]:
    frames: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        if name not in frame_of_name:
            raise UserError(
                f'{path}, line {number}: no scan of frame {name}; expected ids such as {next(iter(frame_of_name))}'
            )
        if frame_of_name[name] in frames:
            raise UserError(f'{path}: frame {name} stands on lines {frames[frame_of_name[name]]} and {number}')
        frames[frame_of_name[name]] = number
    if not frames:
        raise UserError(f'{path}: no frame in it; expected a frame id a line')
    return list(frames)


def _with_poses(root: Path, scans: list[FoundScan]) -> list[FoundScan]:
    """Give the scans of a sequence what ``poses.txt`` and ``times.txt`` beside them or in a folder above say."""
    poses = _rows(root, scans, 'poses.txt', (12, 16))
    times = _rows(root, scans, 'times.txt', (1,))
    return [
        FoundScan(
            *(scan.frame_id, scan.path, scan.sequence),
            None if poses is None else _matrix(poses[row]),
            None if times is None else times[row][0],
        )
        for row, scan in enumerate(scans)
    ]


def _matrix(numbers: Sequence[float]) -> tuple[float, ...]:
    return (*numbers[:12], 0.0, 0.0, 0.0, 1.0)


def _rows(root: Path, scans: Sequence[FoundScan], name: str, widths: Sequence[int]) -> list[list[float]] | None:
    folder = scans[0].path.parent
    while not (folder / name).exists() and folder != root:
        folder = folder.parent
    path = folder / name
    if not path.exists():
        return None
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            rows.append([float(value) for value in line.split()])
        except ValueError:
            rows.append([])
        if len(rows[-1]) not in widths or not np.isfinite(rows[-1]).all():
            raise UserError(f'{path}, line {number}: expected {" or ".join(map(str, widths))} finite numbers')
    if len(rows) != len(scans):
        raise UserError(f'{path}: found {len(rows)} lines, expected {len(scans)}, one for each scan of the sequence')
    return rows
