"""Writing pool predictions: one atomic Parquet part per chunk of frames."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssal3d.fileio import SCHEMA, atomic_path
from ssal3d.predictions.schema import BOX_CONVENTION, METADATA_KEY, REQUIRED, Column, Layout, column


class PredictionWriter:
    """Collects frames and writes a part whenever ``frames_per_part`` are there.

    Args:
        folder: Where the parts go.
        classes: Class names that ``labels_3d`` indexes.
        fields: Columns beyond boxes, scores and labels.
        metadata: More facts for the files' metadata: detector, checkpoint, thresholds.
        prefix: Distinguishes writers that run at the same time, e.g. the rank.
        frames_per_part: Frames between two writes; what a killed run may lose.

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
        self.folder = Path(folder)
        self.columns = [column(name) for name in dict.fromkeys((*REQUIRED, *fields))]
        self.metadata = {
            'schema': SCHEMA,
            'classes': list(classes),
            'box': BOX_CONVENTION,
            **(metadata or {}),
            'created': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        }
        self.prefix = prefix
        self.frames_per_part = frames_per_part
        self._rows: list[tuple[str, dict[str, np.ndarray]]] = []
        self._next = len(list(self.folder.glob(f'part-{prefix}-*.parquet')))

    def __enter__(self) -> 'PredictionWriter':
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is None:
            self.flush()

    def add(self, frame_id: str, **values: Any) -> None:
        """Add one frame; every column of this writer must be given."""
        self._rows.append((frame_id, {spec.name: np.asarray(values[spec.name]) for spec in self.columns}))
        if len(self._rows) >= self.frames_per_part:
            self.flush()

    def flush(self) -> None:
        """Write the collected frames as one part; nothing happens when there are none."""
        if not self._rows:
            return
        ids = pa.array([frame_id for frame_id, _ in self._rows], pa.string())
        arrays = [_to_arrow([values[spec.name] for _, values in self._rows], spec) for spec in self.columns]
        schema = pa.schema([('frame_id', pa.string()), *((s.name, a.type) for s, a in zip(self.columns, arrays))])
        schema = schema.with_metadata({METADATA_KEY: json.dumps(self.metadata)})
        while (path := self.folder / f'part-{self.prefix}-{self._next:05d}.parquet').exists():
            self._next += 1
        with atomic_path(path) as temporary:
            pq.write_table(pa.table([ids, *arrays], schema=schema), temporary, use_dictionary=['frame_id'])
        self._rows.clear()


def _to_arrow(values: list[np.ndarray], spec: Column) -> pa.Array:
    """Build the Arrow column of one contract column from one array per frame."""
    if spec.layout is Layout.FRAME:
        flat = np.stack([value.reshape(-1) for value in values]).astype(spec.dtype)
        if spec.width == 1:
            return pa.array(flat[:, 0])
        return pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
    offsets = np.concatenate(([0], np.cumsum([len(value) for value in values]))).astype(np.int32)
    if spec.layout is Layout.RAGGED or spec.width == 1:
        flat = np.concatenate([value.reshape(-1) for value in values]).astype(spec.dtype)
        return pa.ListArray.from_arrays(offsets, pa.array(flat))
    width = spec.width or max((value.shape[1] for value in values if value.ndim == 2), default=1)
    flat = np.concatenate([value.reshape(len(value), width) for value in values]).astype(spec.dtype)
    return pa.ListArray.from_arrays(offsets, pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), width))
