"""Writing pool predictions: one atomic Parquet part per chunk of frames."""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, atomic_path
from ssal3d.predictions.arrow_values import readable
from ssal3d.predictions.places import ObjectPath, Place, at_once, opened, place
from ssal3d.predictions.row import checked_row
from ssal3d.predictions.schema import BOX_CONVENTION, METADATA_KEY, REQUIRED, Column, Layout, column

GROUP = 2**18  # bytes of a row group's widest column: a few frames can be read without reading all


class PredictionWriter:
    """Collects frames and writes a part whenever ``frames_per_part`` are there.

    Args:
        folder: Where the parts go: a folder, or the URL of a prefix in an object store.
        classes: Class names that ``labels_3d`` indexes.
        fields: Columns beyond boxes, scores and labels.
        metadata: More facts for the files' metadata: detector, checkpoint, thresholds.
        prefix: Distinguishes writers that run at the same time, e.g. the rank.
        frames_per_part: Frames between two writes; what a killed run may lose.

    Raises:
        UserError: If a column does not exist, or the classes are one text.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with PredictionWriter(folder, ['Car']) as writer:
        ...     writer.add('000001', bboxes_3d=np.zeros((0, 7)), scores_3d=[], labels_3d=[])
        >>> sorted(path.name for path in Path(folder).iterdir())
        ['part-0-00000.parquet']
    """

    def __init__(
        self,
        folder: str | Path,
        classes: Sequence[str],
        fields: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        prefix: str = '0',
        frames_per_part: int = 256,
    ) -> None:
        if isinstance(classes, str):
            raise UserError(f'classes: found {classes!r}, expected a list of names, e.g. [{classes!r}]')
        self.folder = place(folder)
        self.fields = tuple(fields)
        self.metadata = {'classes': list(classes), **(metadata or {})}
        self.prefix = prefix
        self.frames_per_part = frames_per_part
        for name in self.fields:
            column(name)
        self._written = _frames_of(self.folder)
        self._known: set[str] = set()
        self._widths: dict[str, int] = {}
        self._rows: list[tuple[str, Mapping[str, Any]]] = []
        self._next = len(list(self.folder.glob(f'part-{prefix}-*.parquet')))

    def __enter__(self) -> 'PredictionWriter':
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is None:
            self.flush()

    def add(self, frame_id: str, **values: Any) -> None:
        """Add one frame; every column of this writer must be given.

        Args:
            frame_id: Its id.
            **values: Values by column; see `ssal3d.predictions.schema`.

        Raises:
            UserError: If the id is not a text or was added before, a column is missing, was not declared or has another
                shape, or a value is out of range; the message names the frame.
        """
        if not isinstance(frame_id, str) or not frame_id:
            raise UserError(f"found the frame id {frame_id!r}, expected text, e.g. '000001'")
        if frame_id in self._known:
            raise UserError(f'frame {frame_id} was added before; every frame needs one row')
        if frame_id in self._written:
            raise UserError(
                f'{self.folder}: holds predictions of frame {frame_id} already; choose another folder or remove this one'
            )
        row = checked_row(frame_id, values, self.fields, self.metadata['classes'], self._widths)
        self._known.add(frame_id)
        self._rows.append((frame_id, row))
        if len(self._rows) >= self.frames_per_part:
            self.flush()

    def flush(self) -> None:
        """Write the collected frames as one part; nothing happens when there are none."""
        if not self._rows:
            return
        while (path := self.folder / f'part-{self.prefix}-{self._next:05d}.parquet').exists():
            self._next += 1
        write_part(path, self._rows, self.fields, self.metadata)
        self._rows.clear()


def _frames_of(folder: Place) -> set[str]:
    """Return the frames that a folder has predictions of."""

    def frames(part: Place) -> list[str]:
        with readable(part):
            return pq.ParquetFile(opened(part)).read(columns=['frame_id'])['frame_id'].to_pylist()

    parts: Iterable[Place] = folder.glob('part-*.parquet')
    return set().union(*at_once(frames, parts))


def write_part(
    path: Place, rows: Sequence[tuple[str, Mapping[str, Any]]], fields: Sequence[str], metadata: Mapping[str, Any]
) -> str | None:
    """Write one part, which appears whole or not at all.

    Args:
        path: The ``part-*.parquet`` to write.
        rows: Frame ids with their values by column.
        fields: Columns beyond boxes, scores and labels.
        metadata: Facts for the file, among them ``classes``.

    Returns:
        The SHA-256 of an object for the manifest; None of a file.
    """
    columns = [column(name) for name in dict.fromkeys((*REQUIRED, *fields))]
    metadata = {'schema': SCHEMA, 'box': BOX_CONVENTION, **metadata}
    ids = pa.array([frame_id for frame_id, _ in rows], pa.string())
    arrays = [_to_arrow([np.asarray(values[spec.name]) for _, values in rows], spec) for spec in columns]
    schema = pa.schema([('frame_id', pa.string()), *((c.name, a.type) for c, a in zip(columns, arrays))])
    schema = schema.with_metadata({METADATA_KEY: json.dumps(metadata)})
    table = pa.table([ids, *arrays], schema=schema)
    options = {
        'use_dictionary': ['frame_id'],
        'compression': 'lz4',  # read in half the time of Arrow's usual one
        'row_group_size': _frames_per_group(arrays, len(rows)),
    }
    if isinstance(path, ObjectPath):
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, **options)
        content = buffer.getvalue()
        path.write_bytes(content)
        return sha256(content).hexdigest()
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, **options)
    return None


def _frames_per_group(arrays: Sequence[pa.Array], frames: int) -> int:
    """Return how many frames a row group, the least that can be read, holds: `GROUP` bytes of the widest column."""
    widest = max(array.nbytes for array in arrays)
    return max(1, min(frames, GROUP * frames // max(widest, 1)))


def _to_arrow(values: list[np.ndarray], spec: Column) -> pa.Array:
    """Build the Arrow column of one contract column from one array per frame."""
    if not values:  # a pool without frames has its columns nevertheless
        shape = (spec.width or 1,) if spec.layout is Layout.FRAME else (0, spec.width or 1)
        return _to_arrow([np.empty(shape)], spec).slice(0, 0)
    if spec.layout is Layout.FRAME:
        flat = np.stack([value.reshape(-1) for value in values]).astype(spec.dtype)
        if spec.width == 1:
            return pa.array(flat[:, 0])
        return pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
    values = [value.reshape(-1) for value in values] if spec.layout is Layout.RAGGED else values
    offsets = np.concatenate(([0], np.cumsum([len(value) for value in values]))).astype(np.int32)
    if spec.layout is Layout.RAGGED or spec.width == 1:
        flat = np.concatenate([value.reshape(-1) for value in values]).astype(spec.dtype)
        return pa.ListArray.from_arrays(offsets, pa.array(flat))
    width = spec.width or max((value.shape[1] for value in values if value.ndim == 2), default=1)
    flat = np.concatenate([value.reshape(len(value), width) for value in values]).astype(spec.dtype)
    return pa.ListArray.from_arrays(offsets, pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), width))
