"""KITTI object lines, one file or many frames at once, as flat columns.

A label line has 15 fields, a detection line a 16th, the score:
``type truncated occluded alpha x1 y1 x2 y2 height width length x y z rotation_y [score]``.
Locations are the bottom centre in the rectified camera frame (x right, y down, z forward), in metres.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssal3d.columns import Columns
from ssal3d.errors import UserError
from ssal3d.fileio import read_text
from ssal3d.spelling import meant_file

Array = NDArray[np.floating]

LABEL_FIELDS = 15
DETECTION_FIELDS = 16
# Easy, moderate, hard: an object counts if it is taller than this in the image (pixels) and at most so hidden.
MIN_HEIGHT = (40, 25, 25)
MAX_OCCLUSION = (0, 1, 2)
MAX_TRUNCATION = (0.15, 0.3, 0.5)
NOWHERE = -1000.0  # a coordinate of what has no 3D box
FARTHEST_OBJECT = 1e4  # metres; a coordinate beyond it is no measurement
_OCCLUDED = 1  # its column after the name has been cut off
_HIGHEST_STATE = 1000  # KITTI's occlusion goes from -1 to 3; other data sets may count further


@dataclass(frozen=True)
class KittiObjects(Columns):
    """N objects as columns.

    Attributes:
        names: ``(N,)`` class names.
        truncated: ``(N,)`` share of the object outside the image in [0, 1]; -1 where unknown.
        occluded: ``(N,)`` 0 visible, 1 partly, 2 largely occluded, 3 unknown; -1 where it does not apply.
        alpha: ``(N,)`` observation angle in radians.
        bbox: ``(N, 4)`` image box x1, y1, x2, y2 in pixels; NaN for an object that no camera can see.
        dimensions: ``(N, 3)`` height, width, length in metres.
        location: ``(N, 3)`` bottom centre in the camera frame in metres.
        rotation_y: ``(N,)`` rotation about the camera's y axis in radians; 0 points along x, clockwise from above.
        scores: ``(N,)`` confidences; NaN for labels.
    """

    names: NDArray[np.str_]
    truncated: Array
    occluded: NDArray[np.int64]
    alpha: Array
    bbox: Array
    dimensions: Array
    location: Array
    rotation_y: Array
    scores: Array

    @cached_property
    def lower_names(self) -> NDArray[np.str_]:
        """``(N,)`` class names in small letters, by which classes are compared."""
        small = {name: name.lower() for name in set(self.names.tolist())}
        return np.array([small[name] for name in self.names.tolist()], dtype=np.str_)

    @property
    def has_image_box(self) -> NDArray[np.bool_]:
        """``(N,)`` False where the image box is NaN or a placeholder without height, such as -1 -1 -1 -1 or 0 0 0 0."""
        return np.abs(self.bbox[:, 3] - self.bbox[:, 1]) > 0

    @property
    def has_3d_box(self) -> NDArray[np.bool_]:
        """``(N,)`` False where the 3D fields are placeholders of an object that was seen in the image only.

        The development kit fills them with -1 -1 -1 -1000 -1000 -1000, some tools with zeros.
        """
        unknown = (self.dimensions == -1).all(axis=1) | (self.location == NOWHERE).all(axis=1)
        return ~(unknown | ((self.dimensions == 0).all(axis=1) & (self.location == 0).all(axis=1)))

    def upright_boxes(self) -> Array:
        """Return ``(N, 7)`` gravity-centre boxes for `ssal3d.ops.boxes`, in the right-handed frame (x, z, -y).

        The frame's third axis points up; its ground plane is KITTI's x-z plane, in which `rotation_y` turns clockwise.
        """
        x, y, z = self.location.T
        height, width, length = self.dimensions.T
        return np.stack((x, z, height / 2 - y, length, width, height, -self.rotation_y), axis=1)


@dataclass(frozen=True)
class KittiFrames:
    """The objects of F frames, one after the other.

    Attributes:
        objects: All objects.
        offsets: ``(F + 1,)`` frame ``f`` owns the rows ``offsets[f]:offsets[f + 1]``.
    """

    objects: KittiObjects
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, frame: int) -> KittiObjects:
        return self.objects[slice(self.offsets[frame], self.offsets[frame + 1])]


def parse_objects(text: str, source: str | Path, *, allowed: Sequence[int] = (15, 16)) -> KittiObjects:
    """Parse the text of one file; blank lines are skipped and an empty text holds no object.

    Args:
        text: KITTI object lines.
        source: File name for error messages.
        allowed: Numbers of fields a line may have.

    Raises:
        UserError: If a line has another number of fields or one is not a finite number; names file and line.
    """
    return _parse_frames([text], [source], allowed).objects


def read_objects(path: str | Path, *, allowed: Sequence[int] = (15, 16)) -> KittiObjects:
    """Read one file; see `parse_objects`.

    Raises:
        UserError: If the file is missing, is not text, or has a bad line.
    """
    return parse_objects(read_text(path), path, allowed=allowed)


def read_frames(folder: str | Path, frame_ids: Iterable[str], *, detections: bool = False) -> KittiFrames:
    """Read ``folder/<frame id>.txt`` of every frame.

    Args:
        folder: Folder of label or detection files.
        frame_ids: The frames, in the order of the result.
        detections: Whether every line must have a score.

    Raises:
        UserError: If a frame has no file (an empty file means no objects), a line is bad or a 3D box cannot be one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f'{folder}: no such folder; expected one <frame id>.txt for every frame')
    kind = 'detection' if detections else 'label'
    paths = {frame: f'{folder}/{frame}.txt' for frame in frame_ids}  # a `Path` takes as long as opening the file
    texts = [_read(path, frame, kind) for frame, path in paths.items()]
    allowed = (DETECTION_FIELDS,) if detections else (LABEL_FIELDS, DETECTION_FIELDS)
    frames = _parse_frames(texts, list(paths.values()), allowed)
    check_boxes(frames, list(paths.values()))
    return frames


def _read(path: str, frame: str, kind: str) -> str:
    try:
        return read_text(path)
    except UserError:
        if Path(path).exists():
            raise
        remedy = meant_file(Path(path)) or f'; write an empty file if it has no {kind}s, or take it out of the split'
        raise UserError(f'{path}: no such file; frame {frame} has no {kind} file{remedy}') from None


def check_boxes(frames: KittiFrames, sources: Sequence[str | Path], placeholders: bool = True) -> None:
    """Check that 3D boxes can be boxes; DontCare regions have none.

    Args:
        frames: Objects of F frames.
        sources: F files or names of frames, for the message.
        placeholders: Whether objects may have no 3D box, see `KittiObjects.has_3d_box`.

    Raises:
        UserError: If a size is not positive or a place is further than 10 km; names source and object.
    """
    objects = frames.objects
    judged: NDArray[np.bool_] = objects.lower_names != 'dontcare'
    if placeholders:
        judged &= objects.has_3d_box
    flat = np.logical_or.reduce(objects.dimensions <= 0, axis=1)
    away = np.logical_or.reduce(np.abs(objects.location) > FARTHEST_OBJECT, axis=1)
    for row in np.flatnonzero(judged & (flat | away))[:1]:
        frame = int(np.searchsorted(frames.offsets, row, side='right')) - 1
        where = f'{sources[frame]}: object {row - frames.offsets[frame] + 1} ({objects.names[row]})'
        if flat[row]:
            size = ' x '.join(f'{value:g}' for value in objects.dimensions[row])
            raise UserError(f'{where} has the size {size} m, expected more than 0; correct or remove it')
        place = ', '.join(f'{value:g}' for value in objects.location[row])
        raise UserError(f'{where} is at {place}, expected metres up to {FARTHEST_OBJECT:g}; correct or remove it')


def concatenate(frames: Sequence[KittiObjects]) -> KittiFrames:
    """Put the objects of frames behind each other."""
    objects = KittiObjects.concatenated(frames or [parse_objects('', '')])
    return KittiFrames(objects, np.cumsum([0, *map(len, frames)]))


def format_objects(objects: KittiObjects, decimals: int = 4) -> str:
    """Return objects as KITTI lines: 15 fields for labels, 16 where there is a score; unknown image boxes as -1.

    Args:
        objects: Labels or detections of one frame.
        decimals: Of every length, angle and pixel.
    """
    boxes = np.where(np.isnan(objects.bbox), -1.0, objects.bbox)
    numbers = np.column_stack((objects.alpha, boxes, objects.dimensions, objects.location, objects.rotation_y))
    lines = []
    for name, truncated, occluded, row, score in zip(
        objects.names, objects.truncated, objects.occluded, numbers.tolist(), objects.scores.tolist(), strict=True
    ):
        ending = '' if np.isnan(score) else f' {score:.9g}'
        lines.append(
            f'{name} {truncated:.4g} {occluded} ' + ' '.join(f'{value:.{decimals}f}' for value in row) + ending + '\n'
        )
    return ''.join(lines)


def _parse_frames(texts: Sequence[str], sources: Sequence[str | Path], allowed: Sequence[int]) -> KittiFrames:
    """Parse all texts: many at once in compiled code, which one text is not worth; a bad line costs another look."""
    if len(texts) > 1:
        from ssal3d.data.kitti_lines import parse_plain  # imports numba

        lines = parse_plain(texts, allowed)
        if lines is not None and _are_whole(lines.numbers[:, _OCCLUDED]):
            return KittiFrames(_from_columns(lines.names, lines.numbers), lines.offsets)
    rows: list[list[str]] = []
    offsets = [0]
    for text in texts:
        rows.extend(row for line in text.splitlines() if (row := line.split()))
        offsets.append(len(rows))
    numbers = np.full((len(rows), DETECTION_FIELDS - 1), np.nan)
    widths = list(map(len, rows))
    try:
        if not set(widths) <= set(allowed):
            raise ValueError
        for width in set(widths):
            chosen = [row for row, found in enumerate(widths) if found == width]
            numbers[chosen, : width - 1] = _to_numbers([rows[row] for row in chosen], width - 1)
    except ValueError:
        raise _first_bad_line(texts, sources, allowed) from None
    names = np.array([row[0] for row in rows], dtype=np.str_)
    return KittiFrames(_from_columns(names, numbers), np.array(offsets, dtype=np.int64))


def _are_whole(numbers: Array) -> bool:
    return not ((numbers % 1).any() or (np.abs(numbers) > _HIGHEST_STATE).any())


def _to_numbers(rows: list[list[str]], count: int) -> Array:
    numbers = np.array([float(value) for row in rows for value in row[1:]]).reshape(-1, count)
    if not (np.isfinite(numbers).all() and _are_whole(numbers[:, _OCCLUDED])):
        raise ValueError
    return numbers


def _from_columns(names: NDArray[np.str_], numbers: Array) -> KittiObjects:
    return KittiObjects(
        names=names,
        truncated=numbers[:, 0],
        occluded=numbers[:, _OCCLUDED].astype(np.int64),
        alpha=numbers[:, 2],
        bbox=numbers[:, 3:7],
        dimensions=numbers[:, 7:10],
        location=numbers[:, 10:13],
        rotation_y=numbers[:, 13],
        scores=numbers[:, 14],
    )


def _first_bad_line(texts: Sequence[str], sources: Sequence[str | Path], allowed: Sequence[int]) -> UserError:
    for text, source in zip(texts, sources, strict=True):
        for number, line in enumerate(text.splitlines(), 1):
            row = line.split()
            where = f'{source}, line {number}'
            if not row:
                continue
            if len(row) not in allowed:
                expected = ' or '.join(map(str, allowed))
                return UserError(
                    f'{where}: found {len(row)} fields, expected {expected} as in a KITTI object line{_other_line(row)}'
                )
            for position, value in enumerate(row[1:], 2):
                if not _is_finite_number(value):
                    python = '; write numbers as text, not as bytes of Python' if value.startswith(("b'", 'b"')) else ''
                    return UserError(f"{where}: found '{value}' as field {position}, expected a finite number{python}")
            if not _are_whole(np.array([float(row[2])])):
                return UserError(f"{where}: found occlusion '{row[2]}', expected a whole number from -1 to 3")
    raise AssertionError('no line is bad')


def _other_line(row: list[str]) -> str:
    """Return what a line with another number of fields probably is."""
    if len(row) in (LABEL_FIELDS + 2, DETECTION_FIELDS + 2) and row[0].isdigit() and not _is_finite_number(row[2]):
        return '; it begins with frame and track like a line of the tracking benchmark, remove these two'
    if len(row) > DETECTION_FIELDS and all(map(_is_finite_number, row[1:LABEL_FIELDS])):
        return f'; remove the fields behind the first {LABEL_FIELDS}'
    return ''


def _is_finite_number(value: str) -> bool:
    return _is_number(value) and bool(np.isfinite(float(value)))


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
