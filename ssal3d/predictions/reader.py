"""Reading pool predictions: all parts of a folder, validated, ordered by frame id."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ssal3d.data.label_state import pool_digest
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, parse_json
from ssal3d.predictions.arrow_values import lists, numbers, one_chunk, readable, refuse_gaps, row_width, rows
from ssal3d.predictions.places import ObjectPath, Place, at_once, opened, place, read_manifest
from ssal3d.predictions.schema import BOX_CONVENTION, METADATA_KEY, REQUIRED, Layout, column
from ssal3d.predictions.stored import RowGroups, StoredColumn, check_rows
from ssal3d.predictions.table import PoolPredictions, Ragged, gathered
from ssal3d.typed import check_value


def read_predictions(
    folder: str | Place, fields: Sequence[str] = (), optional: Sequence[str] = (), stored: Sequence[str] = ()
) -> PoolPredictions:
    """Read a folder of ``part-*.parquet`` files, or a prefix of an object store.

    The result does not depend on the order of rows or parts. Only the named columns are read from disk.

    Args:
        folder: The folder, or a URL such as ``s3://bucket/prefix``.
        fields: Columns beyond boxes, scores and labels.
        optional: Those of them that are left out where the files do not have them.
        stored: Those of them that stay on disk, as `ssal3d.predictions.stored.StoredColumn`, until rows are asked for.

    Raises:
        UserError: If there is no part, parts disagree, a column is missing, a frame appears twice, a pass over the pool
            is not finished or a value is out of range; the message names the file and the frame.
    """
    parts = find_parts(folder)
    if not parts:
        others = sorted(path.name for path in place(folder).glob('*.parquet'))
        found = f', but {others[0]}' if others else ''
        raise UserError(
            f'{folder}: no part-*.parquet found{found}; write them with `ssal3d predict` or PredictionWriter'
        )
    names = list(dict.fromkeys((*REQUIRED, *fields)))
    for name in names:
        column(name)
    metadata = _common_metadata(parts)
    if optional:
        there = pq.read_schema(opened(parts[0])).names
        names = [name for name in names if name in there or name not in optional]
    whole = [name for name in names if name not in stored]
    read = at_once(lambda part: _read_part(part, names, whole), parts)
    for part, own in zip(parts, read):
        if own.types != read[0].types:
            raise UserError(f'{part}: column types differ from those of {parts[0].name}; predict the pool again')
    columns = _stored_columns(parts, read, [name for name in names if name in stored])
    table = pa.concat_tables([own.table for own in read]).combine_chunks()
    del read
    pa.default_memory_pool().release_unused()  # what the parts took
    frame_ids = _ids(table)
    if (frame_ids[1:] < frame_ids[:-1]).any():
        order = np.argsort(frame_ids, kind='stable')
        columns = {name: values.take(_rows_of_frames(values, table, order)) for name, values in columns.items()}
        table, frame_ids = table.take(pa.array(order)).combine_chunks(), frame_ids[order]
    repeated = np.flatnonzero(frame_ids[1:] == frame_ids[:-1])
    if len(repeated):
        raise UserError(
            f'{folder}: frame {frame_ids[repeated[0]]} appears twice; every frame needs one row, remove one of them'
        )
    _check_complete(folder, frame_ids, metadata)
    per_box, offsets = _per_box(table, whole, frame_ids, str(folder))
    predictions = PoolPredictions(
        frame_ids=frame_ids,
        offsets=offsets,
        boxes=per_box.pop('bboxes_3d'),
        scores=per_box.pop('scores_3d'),
        labels=per_box.pop('labels_3d'),
        classes=tuple(metadata['classes']),
        fields={**per_box, **_per_frame(table, whole), **columns},
        metadata=metadata,
        source=str(folder),
    )
    check_values(predictions)
    return predictions


def _check_complete(folder: str | Place, frame_ids: NDArray[np.str_], metadata: Mapping[str, Any]) -> None:
    """Raise an error if these are not the frames of the pass that wrote them, which other writers need not tell."""
    if 'frames_sha256' in metadata and metadata['frames_sha256'] != pool_digest(frame_ids.tolist()):
        raise UserError(
            f'{folder}: found {len(frame_ids)} frames, not those of the pass that wrote them: it was interrupted, or a '
            'part is missing; run it again, what is finished is kept'
        )


def find_parts(folder: str | Place) -> list[Any]:
    """Return the prediction files of a folder, or of a prefix in an object store by its URL, in a stable order.

    Raises:
        UserError: If an object store does not answer, or lacks what its manifest names.
    """
    folder = place(folder)
    if isinstance(folder, ObjectPath):
        read_manifest(folder)
    return sorted(folder.glob('part-*.parquet'))


def read_metadata(part: Place) -> dict[str, Any]:
    """Return the contract's metadata of one part.

    Raises:
        UserError: If the file is not a Parquet file of this contract.
    """
    with readable(part):
        raw = (pq.read_schema(opened(part)).metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise UserError(
            f"{part}: found no metadata key 'ssal3d', which tells classes and boxes; write the file with "
            'PredictionWriter, or add the key, see docs/predictions.md'
        )
    metadata = parse_json(raw.decode(errors='replace'), f"{part}: metadata 'ssal3d'")
    check_value(metadata, _Metadata, f"{part}: metadata 'ssal3d'")
    if metadata.get('schema') != SCHEMA or not metadata.get('classes'):
        raise UserError(f'{part}: found schema {metadata.get("schema")!r}, expected {SCHEMA} with a list of classes')
    if metadata.get('box', BOX_CONVENTION) != BOX_CONVENTION:
        raise UserError(f"{part}: found boxes as '{metadata['box']}', expected '{BOX_CONVENTION}'; convert them")
    return metadata


class _Metadata(TypedDict):
    """What every part says, and what some say."""

    schema: Any
    classes: Sequence[str]
    box: str
    checkpoint_sha256: str | None


def _common_metadata(parts: list[Place]) -> dict[str, Any]:
    first, *others = at_once(read_metadata, parts)
    for part, other in zip(parts[1:], others):
        for key in ('classes', 'checkpoint_sha256'):
            if other.get(key) != first.get(key):
                raise UserError(
                    f'{part}: found {key} {other.get(key)}, expected {first.get(key)} as in {parts[0].name}; '
                    'one folder holds the predictions of one model'
                )
    return first


class _Part(NamedTuple):
    """What was read of a file.

    Attributes:
        table: The columns that are read at once.
        types: The type of every wanted column.
        frames: Frames of each row group.
    """

    table: pa.Table
    types: dict[str, pa.DataType]
    frames: list[int]


def _read_part(part: Place, names: list[str], whole: list[str]) -> _Part:
    with readable(part):
        file = pq.ParquetFile(opened(part))  # pq.read_table would import pandas
        schema, groups = file.schema_arrow, file.metadata
    for name in ('frame_id', *names):
        if name not in schema.names:
            raise UserError(
                f"{part}: the field '{name}' is missing, found {', '.join(schema.names)}; predict the pool again with it"
            )
    with readable(part):
        table = file.read(columns=['frame_id', *whole])
        table.validate(full=True)  # offsets of lists that leave their values would be read as they are
    if not pa.types.is_string(table['frame_id'].type) or table['frame_id'].null_count:
        raise UserError(
            f'{part}: found frame ids of type {table["frame_id"].type}, expected text; predict the pool again'
        )
    for name in whole:
        if table[name].null_count:
            row = table[name].is_null().to_pylist().index(True)
            raise UserError(f"{part}: frame {table['frame_id'][row]} has no value for '{name}'; predict it again")
    return _Part(
        table.replace_schema_metadata(None),
        {name: schema.field(name).type for name in names},
        [groups.row_group(number).num_rows for number in range(groups.num_row_groups)],
    )


def _stored_columns(parts: list[Place], read: list[_Part], names: list[str]) -> dict[str, StoredColumn]:
    """Return the columns that stay on disk, in the order of the files."""
    if not names:
        return {}
    offsets = [np.diff(lists(own.table['bboxes_3d'])[1]) for own in read]
    groups = RowGroups(
        parts=[part for part, own in zip(parts, read) for _ in own.frames],
        numbers=[number for own in read for number in range(len(own.frames))],
        first_frames=np.cumsum([0, *(count for own in read for count in own.frames)]),
        frame_ids=np.concatenate([_ids(own.table) for own in read]),
        offsets=np.cumsum(np.concatenate(([0], *offsets))),
    )
    return {
        name: StoredColumn(column(name), row_width(read[0].types[name], column(name), str(parts[0])), groups)
        for name in names
    }


def _rows_of_frames(values: StoredColumn, table: pa.Table, frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of a column for frames in another order."""
    return gathered(lists(table['bboxes_3d'])[1], frames)[0] if values.per_box else frames


def _ids(table: pa.Table) -> NDArray[np.str_]:
    return np.array(table['frame_id'].to_pylist(), dtype=np.str_)


def _per_box(
    table: pa.Table, names: list[str], frame_ids: np.ndarray, source: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    values, offsets = {}, np.zeros(len(frame_ids) + 1, dtype=np.int64)
    for name in names:
        spec = column(name)
        if spec.layout is not Layout.BOX:
            continue
        flat, own_offsets = lists(table[name])
        if name == 'bboxes_3d':
            offsets = own_offsets
        check_rows(np.diff(own_offsets), np.diff(offsets), frame_ids, name, source)
        values[name] = rows(flat, spec, source)
    return values, offsets


def _per_frame(table: pa.Table, names: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in names:
        spec = column(name)
        if spec.layout is Layout.FRAME:
            values[name] = rows(one_chunk(table[name]), spec, name)
        elif spec.layout is Layout.RAGGED:
            flat, offsets = lists(table[name])
            refuse_gaps(flat, spec, name)
            values[name] = Ragged(numbers(flat), offsets)
    return values


def check_values(predictions: PoolPredictions) -> None:
    """Check that boxes are finite and have a size, scores in [0, 1] and labels known.

    Raises:
        UserError: If not; the message names the frame.
    """
    with np.errstate(invalid='ignore'):
        checks = (
            (~np.isfinite(predictions.boxes).all(1), predictions.boxes, 'bboxes_3d', 'finite numbers'),
            # What `PredictionWriter` refuses as well; other programs may write it.
            (~(predictions.boxes[:, 3:6] > 0).all(1), predictions.boxes, 'bboxes_3d', 'sizes above 0'),
            (~((predictions.scores >= 0) & (predictions.scores <= 1)), predictions.scores, 'scores_3d', 'in [0, 1]'),
            (
                (predictions.labels < 0) | (predictions.labels >= len(predictions.classes)),
                predictions.labels,
                'labels_3d',
                f'in 0..{len(predictions.classes) - 1}',
            ),
        )
    for wrong, values, name, expected in checks:
        if wrong.any():
            box = int(np.flatnonzero(wrong)[0])
            frame = predictions.frame_ids[np.searchsorted(predictions.offsets, box, side='right') - 1]
            raise UserError(
                f'{predictions.source}: frame {frame} has {name} {values[box].tolist()}, expected {expected}'
            )
