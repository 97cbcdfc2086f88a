"""The labels of all frames while HSSDA trains: bought ones, and mined ones that only grow in number.

    labels/gen-000007/{labels,frames,mid}.npy, meta.json
    labels/CURRENT

``mid.npy`` holds labels of the middle level, which every mining finds anew; only runs that use them have it.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssal3d.bank.generation_folder import GenerationFolder, read_generation
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA

BOUGHT, MINED, MID = 0, 1, 2

LABEL = np.dtype(
    [
        ('frame', '<i4'),  # row in frames
        ('box', '<f4', 7),  # gravity centre
        ('label', '<i2'),  # index into the classes of the meta data
        ('s', '<f4'),  # final score, 1 for bought labels
        ('r', '<f4'),  # RPN score, 1 for bought labels
        ('weight', '<f4'),  # in the loss
        ('born', '<i2'),  # epoch of the mining that added it
        ('source', 'u1'),  # BOUGHT or MINED; MID in the table of that name
    ]
)
FILES = ('labels', 'frames')
META_KEYS = ('generation', 'parent', 'classes', 'epoch', 'thresholds', 'rows')


def label_rows(
    boxes: ArrayLike, labels: ArrayLike, s: ArrayLike = 1.0, r: ArrayLike = 1.0, weight: ArrayLike = 1.0
) -> NDArray:
    """Return ``(K,)`` rows of `LABEL` of one frame, for `LabelStore.create` and `LabelStore.publish`.

    Args:
        boxes: ``(K, 7)`` boxes with their gravity centre (m, rad).
        labels: ``(K,)`` class indices.
        s: ``(K,)`` or one final score in [0, 1].
        r: ``(K,)`` or one RPN score in [0, 1].
        weight: ``(K,)`` or one weight in the loss.

    >>> label_rows([[5, 0, -1, 4, 2, 1.5, 0]], [2], s=0.5)[['label', 's', 'weight']].tolist()
    [(2, 0.5, 1.0)]
    """
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 7)
    rows = np.zeros(len(boxes), dtype=LABEL)
    for name, values in (('box', boxes), ('label', labels), ('s', s), ('r', r), ('weight', weight)):
        rows[name] = values
    return rows


@dataclass(frozen=True)
class _Labels:
    """One generation: two tables of `LABEL` ordered by frame, and the frames, ascending by id."""

    labels: NDArray
    mid: NDArray
    frames: NDArray
    meta: Mapping[str, Any]
    pin: Any = field(default=None, repr=False, compare=False)

    @cached_property
    def row_of_frame(self) -> dict[str, int]:
        return {frame_id: row for row, frame_id in enumerate(self.frames['frame_id'].tolist())}

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        return np.searchsorted(self.labels['frame'], np.arange(len(self.frames) + 1))

    @cached_property
    def mid_offsets(self) -> NDArray[np.int64]:
        return np.searchsorted(self.mid['frame'], np.arange(len(self.frames) + 1))


class LabelStore:
    """A folder of generations of labels, seen at one of them; one process writes and any number read.

    It may be sent to worker processes: only the path and the number of the generation go, and they open what they need.

    Args:
        folder: The folder.
        generation: The generation to look at; the current one if not given.
    """

    def __init__(self, folder: str | os.PathLike, generation: int | None = None) -> None:
        self.folder = Path(folder)
        self._number = generation
        self._opened: _Labels | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {'folder': self.folder, '_number': self.generation, '_opened': None}

    @classmethod
    def create(
        cls, folder: str | os.PathLike, frames: Mapping[str, NDArray | None], classes: Sequence[str]
    ) -> 'LabelStore':
        """Publish generation 0, which holds the bought labels; later generations in the folder go.

        Args:
            folder: The folder.
            frames: All frames of the pool by id: the `label_rows` of a bought frame, None for an unlabelled one.
            classes: Class names that labels index.

        Raises:
            UserError: If a box or a class is impossible.
        """
        ids = sorted(frames)
        table = np.zeros(len(ids), dtype=[('frame_id', f'<U{max(map(len, ids), default=1)}'), ('bought', '?')])
        table['frame_id'], table['bought'] = ids, [frames[frame_id] is not None for frame_id in ids]
        labelled = {frame_id: rows for frame_id, rows in frames.items() if rows is not None}
        labels = _of_frames(labelled, dict(zip(ids, range(len(ids)))), classes)
        meta: dict[str, Any] = {'generation': 0, 'parent': None, 'classes': list(classes), 'epoch': 0, 'thresholds': {}}
        store = cls(folder, 0)
        store._write(labels, table, meta)
        GenerationFolder(folder).collect_garbage(keep_last=1)
        return store

    @property
    def generation(self) -> int:
        """Number of the generation that is looked at, from 0; what a checkpoint names."""
        return self._open().meta['generation']

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names that labels index."""
        return tuple(self._open().meta['classes'])

    @property
    def epoch(self) -> int:
        """Epoch of the last mining; 0 before the first one."""
        return self._open().meta['epoch']

    @property
    def thresholds(self) -> dict[str, dict[str, tuple[float, float]]]:
        """(high, low) by class name and cue of the last mining; empty before the first one."""
        return {
            name: {cue: (float(high), float(low)) for cue, (high, low) in cues.items()}
            for name, cues in self._open().meta['thresholds'].items()
        }

    @property
    def frame_ids(self) -> list[str]:
        """Ids of all frames, ascending."""
        return self._open().frames['frame_id'].tolist()

    @property
    def labels(self) -> NDArray:
        """All labels: ``(K,)`` of `LABEL`, ordered by frame, the oldest of a frame first; read-only."""
        return self._open().labels

    def is_bought(self, frame_id: str) -> bool:
        """Whether a frame's annotations were bought; raises like `labels_of`."""
        return bool(self._open().frames['bought'][self._row(frame_id)])

    def labels_of(self, frame_id: str) -> NDArray:
        """Return the labels of a frame, ``(k,)`` of `LABEL`, the oldest first; read-only.

        Raises:
            UserError: If the frame is not in the store.
        """
        row, opened = self._row(frame_id), self._open()
        return opened.labels[opened.offsets[row] : opened.offsets[row + 1]]

    @property
    def has_mid(self) -> bool:
        """Whether the last mining stored labels of the middle level, if only none."""
        return 'mid' in self._open().meta['rows']

    def mid_of(self, frame_id: str) -> NDArray:
        """Return the middle level's labels that the last mining stored for a frame, ``(k,)`` of `LABEL`; read-only.

        Raises:
            UserError: If the frame is not in the store.
        """
        row, opened = self._row(frame_id), self._open()
        return opened.mid[opened.mid_offsets[row] : opened.mid_offsets[row + 1]]

    def use(self, generation: int | None = None) -> None:
        """Look at another generation, the current one if not given; a resumed run names that of its checkpoint.

        Raises:
            UserError: If there is no such generation.
        """
        self._number, self._opened = generation, None
        self._open()

    def publish(
        self,
        new: Mapping[str, NDArray],
        epoch: int,
        thresholds: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
        keep_last: int = 2,
        pinned: Collection[int] = (),
        mid: Mapping[str, NDArray] | None = None,
    ) -> int:
        """Publish the next generation: all labels of this one and the mined ones, and look at it.

        Publishing the same again from the same generation changes nothing. Other content under the number (a run
        resumed from an older checkpoint) replaces it, and generations with higher numbers go. A kill at any moment
        leaves the old generation or the new one.

        Args:
            new: `label_rows` of mined labels by frame id; ``born`` and ``source`` are set here.
            epoch: Epoch of the mining.
            thresholds: (high, low) by class name and cue; those of this generation if not given.
            keep_last: Generations to keep, the new one included.
            pinned: Generations to keep in any case, e.g. those that checkpoints name.
            mid: `label_rows` of the middle level by frame id, in place of those of this generation; None for a
                generation without.

        Returns:
            The number of the new generation.

        Raises:
            UserError: If a frame is unknown or bought, or a label is there already or impossible.
        """
        labels, frames, meta = self._following(new, epoch, thresholds)
        self._write(labels, frames, meta, None if mid is None else self._rows(mid, epoch, MID))
        self.use(meta['generation'])  # lets go of the old one
        GenerationFolder(self.folder).collect_garbage(keep_last, pinned)
        return self.generation

    def _following(
        self, new: Mapping[str, NDArray], epoch: int, thresholds: Mapping[str, Mapping[str, Sequence[float]]] | None
    ) -> tuple[NDArray, NDArray, dict[str, Any]]:
        """Return labels, frames and meta data of the next generation."""
        old = self._open()
        labels = np.concatenate((old.labels, self._rows(new, epoch, MINED)))
        labels = labels[np.argsort(labels['frame'], kind='stable')]
        _refuse_duplicates(labels, old.frames['frame_id'])
        number, chosen = self.generation, old.meta['thresholds'] if thresholds is None else thresholds
        meta = {**old.meta, 'generation': number + 1, 'parent': number, 'epoch': int(epoch)}
        return labels, old.frames, {**meta, 'thresholds': _plain(chosen)}

    def _rows(self, frames: Mapping[str, NDArray], epoch: int, source: int) -> NDArray:
        """Return the rows of labels that a mining found, checked."""
        for frame_id in frames:
            if self.is_bought(frame_id):
                raise UserError(f'frame {frame_id}: found mined labels for a bought frame; mine unlabelled frames only')
        rows = _of_frames(frames, self._open().row_of_frame, self.classes)
        rows['born'], rows['source'] = epoch, source
        return rows

    def _row(self, frame_id: str) -> int:
        opened = self._open()
        if frame_id not in opened.row_of_frame:
            raise UserError(f'{self.folder}: frame {frame_id} is not in the label store; create it with this pool')
        return opened.row_of_frame[frame_id]

    def _open(self) -> _Labels:
        if self._opened is None:
            folder = GenerationFolder(self.folder)

            def load(number: int) -> _Labels:
                return _load(folder.path(number), folder.generations())

            if self._number is None:
                self._opened = folder.read_current(load, 'create the label store first')
            else:
                self._opened = load(self._number)
            self._number = self._opened.meta['generation']
        return self._opened

    def _write(self, labels: NDArray, frames: NDArray, meta: dict[str, Any], mid: NDArray | None = None) -> None:
        arrays = {'labels': labels, 'frames': frames} | ({} if mid is None else {'mid': mid})
        meta = {'schema': SCHEMA, **meta, 'rows': {name: len(array) for name, array in arrays.items()}}
        GenerationFolder(self.folder).write(meta['generation'], meta['parent'], arrays, meta)


def _of_frames(frames: Mapping[str, NDArray], row_of_frame: Mapping[str, int], classes: Sequence[str]) -> NDArray:
    """Return the rows of some frames in the order of the frames, checked."""
    parts = [np.empty(0, dtype=LABEL)]
    for frame_id in sorted(frames):
        rows = np.array(frames[frame_id], dtype=LABEL)
        wrong = ~np.isfinite(rows['box']).all(1) | (rows['box'][:, 3:6] <= 0).any(1)
        if wrong.any():
            raise UserError(
                f'frame {frame_id}: found box {rows["box"][wrong][0].tolist()}, expected finite numbers and sizes above '
                '0; remove it from the labels'
            )
        wrong = (rows['label'] < 0) | (rows['label'] >= len(classes))
        if wrong.any():
            raise UserError(
                f'frame {frame_id}: found class index {rows["label"][wrong][0]}, expected 0 to {len(classes) - 1}; '
                'give the labels and the store the same classes'
            )
        rows['frame'] = row_of_frame[frame_id]
        parts.append(rows)
    return np.concatenate(parts)


def _refuse_duplicates(labels: NDArray, frame_ids: NDArray) -> None:
    places = np.column_stack((labels['frame'], labels['box'].astype(np.float64)))
    _, first, counts = np.unique(places, axis=0, return_index=True, return_counts=True)
    if (counts > 1).any():
        row = labels[first[counts > 1][0]]
        raise UserError(
            f'frame {frame_ids[row["frame"]]}: found the box {row["box"].tolist()} twice, expected new boxes only; mine '
            'boxes that overlap no label of the frame'
        )


def _plain(thresholds: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, list[float]]]:
    return {
        name: {cue: [float(value) for value in pair] for cue, pair in cues.items()} for name, cues in thresholds.items()
    }


def _load(path: Path, existing: Sequence[int]) -> _Labels:
    remedy = 'delete this generation and resume from an older one'
    arrays, meta, pin = read_generation(path, FILES, META_KEYS, existing, optional=('mid',))
    for name, array in arrays.items():
        columns = ('frame_id', 'bought') if name == 'frames' else LABEL.names
        if array.dtype.names != columns or (name != 'frames' and array.dtype != LABEL):
            raise UserError(f'{path}/{name}.npy: found {array.dtype}, expected the columns {columns}; {remedy}')
        if len(array) != meta['rows'].get(name):
            raise UserError(
                f'{path}/{name}.npy: found {len(array)} rows, expected {meta["rows"].get(name)} as in meta.json; {remedy}'
            )
    return _Labels(arrays['labels'], arrays.get('mid', np.empty(0, dtype=LABEL)), arrays['frames'], meta, pin)
