"""Columns that stay on disk: rows are read where they are asked for.

Features and gradients are by far the largest columns, and some samplers look at those of a few frames only. A stored
column stands in for the array: ``column[rows]`` reads the row groups that hold these rows, and nothing else.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ssal3d.errors import UserError
from ssal3d.predictions.arrow_values import lists, one_chunk, readable, rows
from ssal3d.predictions.places import Place, opened
from ssal3d.predictions.schema import Column, Layout

FIRST = 2**12  # rows of a stored column that are read ahead at first
WHOLE = 2**26  # bytes of a stored column up to which all of it is read at once
AHEAD = 2**27  # bytes of a larger one that are read ahead at most


class RowGroups(NamedTuple):
    """Where the frames of a folder lie, in the order of its files.

    Attributes:
        parts: The file of every row group.
        numbers: Its number in the file.
        first_frames: ``(G + 1,)`` position of its first frame.
        frame_ids: ``(F,)`` ids.
        offsets: ``(F + 1,)`` position of each frame's first box.
    """

    parts: Sequence[Place]
    numbers: Sequence[int]
    first_frames: NDArray[np.int64]
    frame_ids: NDArray[np.str_]
    offsets: NDArray[np.int64]


class StoredColumn:
    """A column of ``(N, width)`` values in Parquet files, indexed like an array by slices, masks and positions.

    Args:
        spec: The column.
        width: Values a row.
        groups: Where its rows lie.
        chosen: ``(N,)`` position of every row in the files; None: as they lie there.

    Attributes:
        per_box: Whether there is a row for every box, rather than for every frame.
        dtype: Type of the values.
        shape: ``(N, width)``.
    """

    def __init__(self, spec: Column, width: int, groups: RowGroups, chosen: NDArray[np.integer] | None = None) -> None:
        self._spec, self._groups, self._chosen = spec, groups, chosen
        self.per_box = spec.layout is Layout.BOX
        self._starts = groups.offsets[groups.first_frames] if self.per_box else groups.first_frames
        self.dtype = np.dtype(spec.dtype)
        self.shape = (int(self._starts[-1]) if chosen is None else len(chosen), width)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Return the values of some rows.

        Raises:
            UserError: If a file is damaged, or lacks values; the message names it.
        """
        positions = self._positions(index)
        values = np.empty((len(positions), self.shape[1]), dtype=self.dtype)
        group = np.searchsorted(self._starts, positions, side='right') - 1
        order = np.argsort(group, kind='stable')
        wanted = np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else []
        numbers = [int(group[own[0]]) for own in wanted]
        for number, own, read in zip(numbers, wanted, self._read(numbers)):
            values[own] = read[positions[own] - self._starts[number]]
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def take(self, index: NDArray[np.integer]) -> 'StoredColumn':
        """Return the column of some rows, without reading them."""
        positions = self._positions(index)
        small = self._starts[-1] <= np.iinfo(np.int32).max
        return StoredColumn(self._spec, self.shape[1], self._groups, positions.astype(np.int32) if small else positions)

    def _positions(self, index: Any) -> NDArray[np.integer]:
        """Return where rows lie in the files."""
        if self._chosen is not None:
            return self._chosen[index]
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)))
        wanted = np.asarray(index)
        return np.flatnonzero(wanted) if wanted.dtype == bool else np.where(wanted < 0, wanted + len(self), wanted)

    def _read(self, numbers: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Yield the values of row groups; each file is opened once for those that follow each other."""
        for part, members in groupby(numbers, key=self._groups.parts.__getitem__):
            with readable(part):
                file = pq.ParquetFile(opened(part))
            for number in members:
                yield self._read_group(file, part, number)

    def _read_group(self, file: pq.ParquetFile, part: Place, group: int) -> NDArray[Any]:
        name, first = self._spec.name, self._groups.first_frames
        with readable(part):
            table = file.read_row_group(self._groups.numbers[group], columns=[name], use_threads=False)
            table.validate(full=True)
        ids = self._groups.frame_ids[first[group] : first[group + 1]]
        if len(table) != len(ids):
            raise UserError(f'{part}: was written anew while it was in use; run the command again')
        if table[name].null_count:
            frame = table[name].is_null().to_pylist().index(True)
            raise UserError(f"{part}: frame {ids[frame]} has no value for '{name}'; predict it again")
        if not self.per_box:
            return rows(one_chunk(table[name]), self._spec, str(part))
        flat, offsets = lists(table[name])
        boxes = np.diff(self._groups.offsets[first[group] : first[group + 1] + 1])
        check_rows(np.diff(offsets), boxes, ids, name, str(part))
        return rows(flat, self._spec, str(part))


def check_rows(
    found: NDArray[np.integer], boxes: NDArray[np.integer], frame_ids: NDArray[np.str_], name: str, source: str
) -> None:
    """Check that a column has a row for every box.

    Args:
        found: ``(F,)`` rows of each frame.
        boxes: ``(F,)`` its boxes.
        frame_ids: ``(F,)`` ids.
        name: Name of the column.
        source: File or folder, for the message.

    Raises:
        UserError: If not; the message names the frame.
    """
    different = np.flatnonzero(found != boxes)
    if len(different):
        frame = different[0]
        raise UserError(
            f"{source}: frame {frame_ids[frame]} has {found[frame]} rows of '{name}', expected {boxes[frame]} as in "
            'bboxes_3d'
        )


class ReadAhead:
    """Rows of a column frame by frame, in an order that is known in advance.

    A stored column is read for many frames at once, every time twice as far, or as a whole where it is small; what was
    read stays for the next order.

    Args:
        column: ``(K, width)`` rows of all boxes.
        offsets: ``(F + 1,)`` position of each frame's first box.
    """

    def __init__(self, column: NDArray[Any] | StoredColumn, offsets: NDArray[np.int64]) -> None:
        small = len(column) * column.shape[1] * column.dtype.itemsize <= WHOLE
        self._column = np.asarray(column) if small else column
        self._offsets = offsets
        self._known: dict[int, NDArray[Any]] = {}
        self._limit = FIRST

    def rows_of(self, parts: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[Any]]:
        """Yield the rows of all frames of each part, one after another.

        Args:
            parts: Frames of each part, in the order in which they are wanted.
        """
        for number, part in enumerate(parts):
            if isinstance(self._column, StoredColumn):
                frames = part.tolist()
                if not all(frame in self._known for frame in frames):
                    self._read(parts[number:])
                yield np.concatenate([self._known[frame] for frame in frames])
            else:
                yield self._column[self._boxes(part)]

    def _read(self, parts: Iterable[NDArray[np.int64]]) -> None:
        """Read the frames of as many parts as the limit allows, at least those of the first one."""
        assert isinstance(self._column, StoredColumn)
        most = AHEAD // (self._column.shape[1] * self._column.dtype.itemsize)
        if sum(map(len, self._known.values())) + self._limit > most:
            self._known.clear()
        wanted: list[int] = []
        rows = 0
        for part in parts:
            wanted += [frame for frame in part.tolist() if frame not in self._known]
            rows += int((self._offsets[part + 1] - self._offsets[part]).sum())
            if rows >= self._limit:
                break
        frames = np.array(wanted, dtype=np.int64)
        read = self._column[self._boxes(frames)]
        ends = np.cumsum(self._offsets[frames + 1] - self._offsets[frames])[:-1]
        self._known.update(zip(wanted, np.split(read, ends)))
        self._limit = min(2 * self._limit, most)

    def _boxes(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        first = self._offsets[frames]
        sizes = self._offsets[frames + 1] - first
        return np.arange(sizes.sum()) + np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
