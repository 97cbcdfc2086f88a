"""Columns that stay on disk: rows are read where they are asked for.

Features and gradients are by far the largest columns, and some samplers look at those of a few frames only. A stored
column stands in for the array: ``column[rows]`` reads the row groups that hold these rows, and nothing else.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ssal3d.errors import UserError
from ssal3d.predictions.arrow_values import lists, one_chunk, readable, rows
from ssal3d.predictions.places import Place, opened
from ssal3d.predictions.schema import Column, Layout


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
