"""Waymo's detection files: one serialised ``Objects`` message with every box of every frame, read in pieces."""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.columns import Columns
from ssal3d.data.waymo_messages import decode, message_class
from ssal3d.errors import UserError
from ssal3d.fileio import atomic_path

TYPES = ('UNKNOWN', 'VEHICLE', 'PEDESTRIAN', 'SIGN', 'CYCLIST')  # by the number in the files
FEW_POINTS = 5  # an object with at most so many LiDAR points is LEVEL_2, if no annotator said otherwise
_PIECE_BYTES = 4 << 20
_ROWS_AT_A_TIME = 20_000
_OBJECTS_TAG = 0x0A  # field 1, length-delimited
_ZONES_TAG = 0x12  # field 2: no-label zones, which the official metric does not read either

FrameKey = tuple[str, int, int]  # segment, camera (0 without one), time in microseconds


@dataclass(frozen=True)
class WaymoObjects(Columns):
    """N boxes of many frames as columns.

    Attributes:
        frames: ``(N,)`` number of the frame each box belongs to.
        boxes: ``(N, 7)`` gravity-centred boxes in the vehicle frame, m and rad.
        types: ``(N,)`` index into `TYPES`.
        scores: ``(N,)`` float32 confidences in [0, 1]; 1 for ground truth.
        levels: ``(N,)`` 1 or 2 as an annotator set the detection difficulty, 0 if none did.
        num_points: ``(N,)`` LiDAR points inside each box.
        in_no_label_zone: ``(N,)`` boxes that touch a zone which nobody labelled.
    """

    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]
    types: NDArray[np.int32]
    scores: NDArray[np.float32]
    levels: NDArray[np.int32]
    num_points: NDArray[np.int32]
    in_no_label_zone: NDArray[np.bool_]


def counted_truth(objects: WaymoObjects) -> WaymoObjects:
    """Return the ground truth that counts, each with its difficulty.

    Objects without a LiDAR point are left out. One whose difficulty no annotator set is LEVEL_2 with up to 5 points.
    """
    seen = objects[objects.num_points > 0]
    by_points = np.where(seen.num_points <= FEW_POINTS, 2, 1)
    levels = np.where(seen.levels == 0, by_points, seen.levels).astype(np.int32)
    return WaymoObjects(**{**vars(seen), 'levels': levels})


def read_objects(path: str | Path, frame_numbers: dict[FrameKey, int]) -> WaymoObjects:
    """Read a file with one serialised ``Objects`` message.

    The file is mapped and parsed in pieces of a few megabytes, so the memory is that of the columns.

    Args:
        path: For instance ``predictions.bin``.
        frame_numbers: Numbers of the frames that are already known; new ones are added. Reading detections and ground
            truth with the same dictionary numbers their frames alike.

    Raises:
        UserError: If the file is missing, is no such message, or holds a box without size, a number that is not finite
            or a confidence outside [0, 1]; the message names the frame.
    """
    try:
        with open(path, 'rb') as file:
            pieces = [_columns(piece, frame_numbers, path) for piece in _pieces(file, path)]
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); check the path') from None
    pieces.append(_columns(b'', frame_numbers, path))  # an empty file has no boxes, but columns
    objects = WaymoObjects.concatenated(pieces)
    _check(objects, frame_numbers, path)
    return objects


def write_objects(path: str | Path, objects: WaymoObjects, keys: Sequence[FrameKey]) -> None:
    """Write a file with one serialised ``Objects`` message, as Waymo's own tools read it.

    Args:
        path: For instance ``predictions.bin``.
        objects: The boxes.
        keys: Segment, camera and time of each frame number.
    """
    with atomic_path(path) as temporary, open(temporary, 'wb') as file:
        for start in range(0, len(objects), _ROWS_AT_A_TIME):
            file.write(_message(objects[slice(start, start + _ROWS_AT_A_TIME)], keys).SerializeToString())


def _message(objects: WaymoObjects, keys: Sequence[FrameKey]) -> Any:
    message = message_class('Objects')()
    columns = (getattr(objects, field.name).tolist() for field in fields(objects))
    for frame, box, type_, score, level, points, in_zone in zip(*columns, strict=True):
        segment, camera, time = keys[frame]
        item = message.objects.add(
            score=score, overlap_with_nlz=in_zone, context_name=segment, frame_timestamp_micros=time, camera_name=camera
        )
        label = item.object
        label.type, label.detection_difficulty_level, label.num_lidar_points_in_box = type_, level, points
        x, y, z, length, width, height, heading = box
        label.box.center_x, label.box.center_y, label.box.center_z = x, y, z
        label.box.length, label.box.width, label.box.height, label.box.heading = length, width, height, heading
    return message


def _pieces(file: Any, path: str | Path) -> Iterator[bytes]:
    """Cut the file at the borders of its top-level fields; pieces of one message are messages of the same kind."""
    if file.seek(0, 2) == 0:
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = position = 0
        while position < len(content):
            position = _end_of_field(content, position, path)
            if position - start >= _PIECE_BYTES or position == len(content):
                yield content[start:position]
                start = position


def _end_of_field(content: Any, position: int, path: str | Path) -> int:
    """Return where a length-delimited field ends."""
    tag, shift, length = content[position], 0, 0
    while position + 1 < len(content):
        position += 1
        byte = content[position]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    end = position + 1 + length
    if tag not in (_OBJECTS_TAG, _ZONES_TAG) or shift == 0 or shift > 35 or end > len(content):
        raise UserError(
            f"{path}: not a serialised Waymo message 'Objects' (byte {position}); expected the .bin file that "
            "MMDetection3D's WaymoMetric or Waymo's own tools write; the file is damaged or of another format"
        )
    return end


def _columns(content: bytes, frame_numbers: dict[FrameKey, int], path: str | Path) -> WaymoObjects:
    objects = decode('Objects', content, path).objects
    labels = [item.object for item in objects]
    boxes = [label.box for label in labels]
    keys = [(item.context_name, item.camera_name, item.frame_timestamp_micros) for item in objects]
    rows = [(b.center_x, b.center_y, b.center_z, b.length, b.width, b.height, b.heading) for b in boxes]
    return WaymoObjects(
        frames=np.array([frame_numbers.setdefault(key, len(frame_numbers)) for key in keys], dtype=np.int64),
        boxes=np.array(rows, dtype=np.float64).reshape(-1, 7),
        types=np.array([label.type for label in labels], dtype=np.int32),
        scores=np.array([i.score if i.HasField('score') else 1.0 for i in objects], dtype=np.float32),
        levels=np.array([label.detection_difficulty_level for label in labels], dtype=np.int32),
        num_points=np.array([label.num_lidar_points_in_box for label in labels], dtype=np.int32),
        in_no_label_zone=np.array([item.overlap_with_nlz for item in objects], dtype=np.bool_),
    )


def _check(objects: WaymoObjects, frame_numbers: Mapping[FrameKey, int], path: str | Path) -> None:
    with np.errstate(invalid='ignore'):
        checks: Sequence[tuple[Any, NDArray, str, str]] = (
            (~np.isfinite(objects.boxes).all(axis=1), objects.boxes, 'the box', 'finite numbers'),
            ((objects.boxes[:, 3:6] <= 0).any(axis=1), objects.boxes, 'the box', 'a size above 0'),
            (~((objects.scores >= 0) & (objects.scores <= 1)), objects.scores, 'the score', 'a number in [0, 1]'),
            ((objects.types < 0) | (objects.types >= len(TYPES)), objects.types, 'the type', 'a number in 0..4'),
            ((objects.levels < 0) | (objects.levels > 2), objects.levels, 'the difficulty', '0, 1 or 2'),
        )
    for wrong, values, name, expected in checks:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            segment, _, time = next(key for key, number in frame_numbers.items() if number == objects.frames[row])
            raise UserError(
                f'{path}: frame {segment} at {time}: found {name} {values[row].tolist()} ({int(wrong.sum())} such boxes), '
                f'expected {expected}; write the file again'
            )
