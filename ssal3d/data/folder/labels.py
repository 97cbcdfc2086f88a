"""Labels of own data: JSON, CSV, KITTI lines and MMDetection3D's lines, each read into names and boxes.

Boxes are ``x y z length width height yaw``: gravity centre in metres, LiDAR frame (x forward, y left, z up), yaw in
radians counter-clockwise from x. A frame without an entry is unlabelled; an empty entry is a frame without objects.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.folder.layout import JOINT, files_below, place_of
from ssal3d.data.kitti_objects import KittiObjects, parse_objects
from ssal3d.errors import UserError
from ssal3d.fileio import parse_json, read_text

BOX = ('x', 'y', 'z', 'length', 'width', 'height', 'yaw')
# What `ssal3d labels` calls the same columns.
_ALSO = {'frame': 'frame_id', 'length': 'dx', 'width': 'dy', 'height': 'dz'}
_LINE = len(BOX) + 1  # values of a line of MMDetection3D's and OpenPCDet's own data sets: box and class
USUAL_PLACES = ('labels', 'label_2', 'labels.json', 'labels.csv')


@dataclass(frozen=True)
class FrameLabels:
    """Labels of a frame.

    Attributes:
        names: ``(M,)`` class names.
        boxes: ``(M, 7)`` LiDAR boxes, as read: the yaw is not wrapped.
        kitti: KITTI objects in place of boxes, if the file holds KITTI lines.
        source: Where they stand, for messages.
    """

    names: tuple[str, ...]
    boxes: NDArray[np.float64]
    source: str
    kitti: KittiObjects | None = None


@dataclass(frozen=True)
class LabelSource:
    """Where the labels of a data set are.

    Attributes:
        files: Label file by frame id.
        table: Labels by frame id, if one file holds all of them.
    """

    files: Mapping[str, Path]
    table: Mapping[str, FrameLabels]

    @property
    def frames(self) -> set[str]:
        """Ids of the labelled frames."""
        return {*self.files, *self.table}


def find_labels(root: Path, given: Path | None, frames: Mapping[str, str]) -> LabelSource:
    """Find the labels.

    Args:
        root: The data's folder.
        given: A folder with a file for each labelled frame, or one ``.json`` or ``.csv`` file for all of them; by
            default one of `USUAL_PLACES` in the root, if it is there.
        frames: Stem of the scan by frame id.

    Raises:
        UserError: If ``given`` is missing, a label belongs to no scan, or a frame has two files.
    """
    path = given or next((root / name for name in USUAL_PLACES if (root / name).exists()), None)
    if path is None:
        return LabelSource({}, {})
    if not path.exists():
        raise UserError(f'{path}: no such file or folder; expected labels in it')
    if path.is_file():
        table = read_table(path)
        strangers = [frame for frame in table if frame not in frames]
        if strangers:
            raise UserError(
                f'{path}: {len(strangers)} of {len(table)} labelled frames have no scan, for instance {strangers[0]}; '
                f'frames are named like {next(iter(frames))}'
            )
        return LabelSource({}, table)
    return LabelSource(_files(path, frames), {})


def read_labels(path: Path) -> FrameLabels:
    """Read the labels of one frame.

    Raises:
        UserError: If the file is malformed; names line or object.
    """
    text, suffix = read_text(path), path.suffix.lower()
    if suffix == '.json':
        content = parse_json(text, path)
        objects = content.get('objects', content.get('boxes')) if isinstance(content, dict) else content
        return _from_objects(objects, str(path))
    if suffix == '.csv':
        rows = list(_csv_rows(text, path, ('class', *BOX)))
        return _from_rows(rows, str(path))
    first = next((line.split() for line in text.splitlines() if line.strip()), [])
    if len(first) == _LINE:
        return _from_lines(text, path)
    kitti = parse_objects(text, path)
    return FrameLabels(tuple(kitti.names.tolist()), np.zeros((len(kitti), 7)), str(path), kitti)


def read_table(path: Path) -> dict[str, FrameLabels]:
    """Read one file with the labels of many frames.

    Args:
        path: ``{"frames": {"<id>": [{"class": ..., "box": [7 numbers]}, ...]}}``, or CSV with the columns ``frame``,
            ``class`` and `BOX`, or as `ssal3d labels` calls them; a row with the frame alone is a labelled frame
            without objects.

    Raises:
        UserError: If the file is malformed.
    """
    if path.suffix.lower() == '.json':
        content = parse_json(read_text(path), path)
        frames = content.get('frames') if isinstance(content, dict) else None
        if not isinstance(frames, dict):
            raise UserError(f'{path}: found no object "frames", expected {{"frames": {{"<frame id>": [...]}}}}')
        return {frame: _from_objects(objects, f'{path}, frame {frame}') for frame, objects in frames.items()}
    if path.suffix.lower() != '.csv':
        raise UserError(f'{path}: found a file that is neither .json nor .csv; give one of these, or a folder')
    rows: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for number, row in _csv_rows(read_text(path), path, ('frame', 'class', *BOX)):
        rows.setdefault(row['frame'].strip(), []).append((number, row))
    return {frame: _from_rows(found, str(path)) for frame, found in rows.items()}


def _files(folder: Path, frames: Mapping[str, str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    by_stem: dict[str, list[str]] = {}
    for frame, stem in frames.items():
        by_stem.setdefault(stem, []).append(frame)
    for path in sorted(files_below(folder)):
        if path.suffix.lower() not in ('.json', '.csv', '.txt'):
            continue
        sequence, frame = place_of(path.relative_to(folder))
        if frame not in frames:
            # A file in a folder says its sequence; a scan of this name in another sequence is another one.
            same = [] if sequence else by_stem.get(frame, [])
            if len(same) != 1:
                raise _no_scan(path, sequence, frames, len(same))
            frame = same[0]
        if frame in found:
            raise UserError(f'{path}: frame {frame} has labels in {found[frame]} already; keep one of the files')
        found[frame] = path
    return found


def _no_scan(path: Path, sequence: str, frames: Iterable[str], same: int) -> UserError:
    """Return the error for a label file that belongs to no scan, or to several; it tells which scans there are."""
    near = [frame for frame in frames if sequence and frame.startswith(sequence + JOINT)] or list(frames)
    return UserError(
        f'{path}: {same if same else "no"} scan{"s" * (same > 1)} of this name; {len(near)} are there, from {near[0]} to '
        f'{near[-1]}; name the file like one of them, e.g. {near[0]}{path.suffix}, or take it out of the folder'
    )


def _from_objects(objects: Any, source: str) -> FrameLabels:
    if not isinstance(objects, list):
        raise UserError(f'{source}: found no list "objects", expected [{{"class": ..., "box": [7 numbers]}}, ...]')
    names, boxes = [], []
    for number, entry in enumerate(objects, 1):
        if not isinstance(entry, dict) or not {'class', 'box'} <= set(entry):
            raise UserError(f'{source}: object {number} lacks "class" or "box"; expected both')
        names.append(str(entry['class']))
        boxes.append(_box(entry['box'], f'{source}: object {number}'))
    return _labels(names, boxes, source)


def _csv_rows(text: str, path: Path, columns: Sequence[str]) -> Iterable[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        header = list(reader.fieldnames or ())
    except csv.Error as error:
        raise UserError(f'{path}: not readable as CSV ({error}); save it again') from None
    ours = {theirs: name for name, theirs in _ALSO.items() if name not in header}
    reader.fieldnames = header = [ours.get(name, name) for name in header]
    missing = [name for name in columns if name not in header]
    if missing:
        raise UserError(f'{path}: no column {missing[0]!r}; expected the header {",".join(columns)}')
    for row in _rows(reader, path):
        if None in row or any(row[name] is None for name in columns):
            raise UserError(f'{path}, line {reader.line_num}: expected {len(header)} values')
        yield reader.line_num, row


def _rows(reader: csv.DictReader, path: Path) -> Iterable[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise UserError(f'{path}, line {reader.line_num}: not readable as CSV ({error}); save it again') from None


def _from_rows(rows: Sequence[tuple[int, dict[str, str]]], source: str) -> FrameLabels:
    filled = [(number, row) for number, row in rows if any(row[name].strip() for name in ('class', *BOX))]
    boxes = [_box([row[name] for name in BOX], f'{source}, line {number}') for number, row in filled]
    return _labels([row['class'].strip() for _, row in filled], boxes, source)


def _from_lines(text: str, path: Path) -> FrameLabels:
    names, boxes = [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != _LINE:
            raise UserError(f'{path}, line {number}: found {len(words)} values, expected {" ".join(BOX)} class')
        names.append(words[-1])
        boxes.append(_box(words[:-1], f'{path}, line {number}'))
    return _labels(names, boxes, str(path))


def _box(values: Any, where: str) -> list[float]:
    try:
        box = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        box = []
    if len(box) != len(BOX) or not np.isfinite(box).all():
        raise UserError(f'{where}: found the box {values!r}, expected seven finite numbers: {" ".join(BOX)}')
    if min(box[3:6]) <= 0:
        raise UserError(f'{where}: found the size {" x ".join(f"{v:g}" for v in box[3:6])} m, expected more than 0')
    return box


def _labels(names: Sequence[str], boxes: Sequence[Sequence[float]], source: str) -> FrameLabels:
    return FrameLabels(tuple(names), np.array(boxes, dtype=np.float64).reshape(-1, 7), source)
