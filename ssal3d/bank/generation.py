"""One generation of the box bank: objects with their points, background masks, the predictions behind them."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import UserError, unknown_name

SOURCES = ('ground_truth', 'confident', 'false_positive')
GROUND_TRUTH, CONFIDENT, FALSE_POSITIVE = range(3)

OBJECT = np.dtype(
    [
        ('uid', '<i8'),  # hash of frame, class, source and box
        ('frame', '<i4'),  # row in frames
        ('label', '<i2'),  # index into the classes of the meta data
        ('source', 'u1'),  # index into SOURCES
        ('box', '<f4', 7),  # gravity centre
        ('score', '<f4'),
        ('unc', '<f4'),  # uncertainty
        ('miss', 'u1'),  # refreshes in a row without support
        ('born', '<i2'),  # generation that added it
        ('seen', '<i2'),  # last generation that supported it
        ('n_pts', '<i4'),
        ('offset', '<i8'),  # row of its first point in points
    ]
)
PREDICTION = np.dtype([('box', '<f4', 7), ('score', '<f4'), ('label', '<i2')])

FILES = ('objects', 'points', 'frames', 'masks', 'preds')


def frame_dtype(id_length: int) -> np.dtype:
    """Return the type of a row of ``frames``, for frame ids of a given length."""
    return np.dtype(
        [
            ('frame_id', f'<U{max(id_length, 1)}'),
            ('labelled', '?'),
            ('n_points', '<i4'),
            ('checksum', '<u4'),  # CRC-32 of the points as loaded
            ('mask_offset', '<i8'),  # first byte in masks
            ('pred_offset', '<i8'),  # first row in preds
        ]
    )


@dataclass(frozen=True)
class Generation:
    """The arrays of one generation, in memory or memory-mapped; never changed once published.

    Attributes:
        objects: ``(K,)`` of `OBJECT`, ordered by frame.
        points: ``(P, C)`` object points minus their box centre, not rotated.
        frames: ``(F,)`` of `frame_dtype`, ascending by id: every labelled and unlabelled frame.
        masks: Packed bits, 1 = the point belongs to the background; every frame starts at a byte, lowest bit first.
        preds: ``(M,)`` of `PREDICTION`: all predictions of the unlabelled frames.
        meta: Generation, parent, classes, thresholds, settings, counts.
        source: Where the arrays come from, for error messages.
        pin: Keeps the files from being deleted while this object lives.
    """

    objects: NDArray
    points: NDArray[np.float32]
    frames: NDArray
    masks: NDArray[np.uint8]
    preds: NDArray
    meta: Mapping[str, Any]
    source: str = 'generation in memory'
    pin: Any = field(default=None, repr=False, compare=False)
    _rows: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def number(self) -> int:
        """Number of the generation, from 0."""
        return self.meta['generation']

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names that labels index."""
        return tuple(self.meta['classes'])

    @property
    def tau(self) -> dict[str, float]:
        """Confident threshold by class; infinity where nothing is confident."""
        return {name: math.inf if value is None else value for name, value in self.meta['tau'].items()}

    @cached_property
    def row_of_frame(self) -> dict[str, int]:
        """Row in ``frames`` by frame id."""
        return {frame_id: row for row, frame_id in enumerate(self.frames['frame_id'].tolist())}

    @property
    def pred_offsets(self) -> NDArray[np.int64]:
        """``(F + 1,)`` first prediction of every frame."""
        return np.append(self.frames['pred_offset'], len(self.preds))

    def rows(self, name: str, sources: Sequence[str], min_points: int = 1) -> NDArray[np.int64]:
        """Return the rows of objects of a class.

        Args:
            name: Class name.
            sources: Names out of `SOURCES`.
            min_points: Points an object needs.

        Raises:
            UserError: If the class or a source does not exist.
        """
        key = (name, tuple(sources), min_points)
        if key not in self._rows:
            if name not in self.classes:
                raise unknown_name('class', name, list(self.classes))
            for source in sources:
                if source not in SOURCES:
                    raise unknown_name('object source', source, list(SOURCES))
            wanted = np.isin(self.objects['source'], [SOURCES.index(source) for source in sources])
            wanted &= (self.objects['label'] == self.classes.index(name)) & (self.objects['n_pts'] >= min_points)
            self._rows[key] = np.flatnonzero(wanted)
        return self._rows[key]

    def keep_mask(self, frame_id: str, num_points: int) -> NDArray[np.bool_]:
        """Return which points of a frame belong to the background.

        Args:
            frame_id: Id of the frame.
            num_points: Points in its cloud as loaded now.

        Raises:
            UserError: If the bank does not know the frame or its cloud had another number of points.
        """
        if frame_id not in self.row_of_frame:
            raise UserError(f'{self.source}: frame {frame_id} is not in the bank; build the bank with this pool')
        row = self.frames[self.row_of_frame[frame_id]]
        if row['n_points'] != num_points:
            raise UserError(
                f'{self.source}: frame {frame_id} has {num_points} points, expected {row["n_points"]} as when the bank '
                'was built; load it with the same crop, or build the bank again'
            )
        first = int(row['mask_offset'])
        packed = self.masks[first : first + (num_points + 7) // 8]
        return np.unpackbits(packed, count=num_points, bitorder='little').view(np.bool_)

    def background(self, frame_id: str, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the background of a frame given its ``(N, C)`` cloud; raises like `keep_mask`."""
        rows = np.flatnonzero(self.keep_mask(frame_id, len(points)))
        return points.take(rows, axis=0)  # a third of the time of an index by a mask

    def __reduce__(self) -> NoReturn:
        raise TypeError('an open generation is not sent to other processes; send the BoxBank and open it there')


def row_counts(generation: Generation) -> dict[str, int]:
    """Return the rows of every array, which the meta data repeats so that a cut file is noticed."""
    return {name: len(getattr(generation, name)) for name in FILES}


def check(generation: Generation) -> None:
    """Check that the arrays of a generation fit together.

    Raises:
        UserError: If a type or a length is wrong; the message names the file.
    """
    remedy = 'delete this generation and build it again'
    found_type = generation.frames.dtype
    id_length = found_type['frame_id'].itemsize // 4 if 'frame_id' in (found_type.names or ()) else 1
    expected = {'objects': OBJECT, 'points': np.dtype('<f4'), 'masks': np.dtype('u1'), 'preds': PREDICTION}
    for name, dtype in {**expected, 'frames': frame_dtype(id_length)}.items():
        found, rows = getattr(generation, name), generation.meta['rows'].get(name)
        if found.dtype != dtype:
            raise UserError(f'{generation.source}/{name}.npy: found {found.dtype}, expected {dtype}; {remedy}')
        if len(found) != rows:
            raise UserError(
                f'{generation.source}/{name}.npy: found {len(found)} rows, expected {rows} as in meta.json; {remedy}'
            )
    _check_ranges(generation, remedy)
    objects, frames = generation.objects, generation.frames
    sizes = {
        'points': (int(objects['n_pts'].sum()), 'the sum of n_pts'),
        'masks': (int(((frames['n_points'].astype(np.int64) + 7) // 8).sum()), 'one bit per point'),
    }
    for name, (size, meaning) in sizes.items():
        if len(getattr(generation, name)) != size:
            raise UserError(
                f'{generation.source}/{name}.npy: found {len(getattr(generation, name))} rows, expected {size}, '
                f'{meaning}; {remedy}'
            )


def _check_ranges(generation: Generation, remedy: str) -> None:
    """Check that objects and frames refer to what there is."""
    objects, frames, points = generation.objects, generation.frames, len(generation.points)
    masks = (frames['n_points'].astype(np.int64) + 7) // 8
    last = np.append(frames['pred_offset'][1:], len(generation.preds))
    checks = {
        'frames': {
            'frame_id': np.ascontiguousarray(frames['frame_id']).view('<u4').reshape(len(frames), -1).max(1, initial=0)
            <= sys.maxunicode,
            'n_points': frames['n_points'] >= 0,
            'mask_offset': (frames['mask_offset'] >= 0) & (frames['mask_offset'] + masks <= len(generation.masks)),
            'pred_offset': (frames['pred_offset'] >= 0) & (frames['pred_offset'] <= last),
        },
        'objects': {
            'frame': (objects['frame'] >= 0) & (objects['frame'] < len(frames)),
            'label': (objects['label'] >= 0) & (objects['label'] < len(generation.classes)),
            'source': objects['source'] < len(SOURCES),
            'box': np.isfinite(objects['box']).all(axis=1),
            'n_pts': objects['n_pts'] >= 0,
            'offset': (objects['offset'] >= 0) & (objects['offset'] + objects['n_pts'] <= points),
        },
    }
    for name, columns in checks.items():
        for column, fine in columns.items():
            if not fine.all():
                row = int(np.flatnonzero(~fine)[0])
                raise UserError(f'{generation.source}/{name}.npy: row {row} has an impossible {column}; {remedy}')
