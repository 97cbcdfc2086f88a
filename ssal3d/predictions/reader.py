"""Reading pool predictions: all parts of a folder, validated, ordered by frame id."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ssal3d.data.label_state import pool_digest
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, parse_json
from ssal3d.predictions.places import ObjectPath, Place, at_once, opened, place, read_manifest
from ssal3d.predictions.schema import BOX_CONVENTION, METADATA_KEY, REQUIRED, Column, Layout, column
from ssal3d.predictions.table import PoolPredictions, Ragged
from ssal3d.typed import check_value

FLOATS = {
    pa.float16(): np.float16,
    pa.float32(): np.float32,
    pa.float64(): np.float64,
}  # other numbers have NumPy's names


def read_predictions(folder: str | Place, fields: Sequence[str] = (), optional: Sequence[str] = ()) -> PoolPredictions:
    """Read a folder of ``part-*.parquet`` files, or a prefix of an object store.

    The result does not depend on the order of rows or parts. Only the named columns are read from disk.

    Args:
        folder: The folder, or a URL such as ``s3://bucket/prefix``.
        fields: Columns beyond boxes, scores and labels.
        optional: Those of them that are left out where the files do not have them.

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
    tables = at_once(lambda part: _read_part(part, names), parts)
    for part, table in zip(parts, tables):
        if table.schema != tables[0].schema:
            raise UserError(f'{part}: column types differ from those of {parts[0].name}; predict the pool again')
    table = pa.concat_tables(tables).combine_chunks()
    frame_ids = np.array(table['frame_id'].to_pylist(), dtype=np.str_)
    order = np.argsort(frame_ids, kind='stable')
    if (np.diff(order) < 0).any():
        table, frame_ids = table.take(pa.array(order)).combine_chunks(), frame_ids[order]
    repeated = np.flatnonzero(frame_ids[1:] == frame_ids[:-1])
    if len(repeated):
        raise UserError(
            f'{folder}: frame {frame_ids[repeated[0]]} appears twice; every frame needs one row, remove one of them'
        )
    _check_complete(folder, frame_ids, metadata)
    lists, offsets = _per_box(table, names, frame_ids, str(folder))
    predictions = PoolPredictions(
        frame_ids=frame_ids,
        offsets=offsets,
        boxes=lists.pop('bboxes_3d'),
        scores=lists.pop('scores_3d'),
        labels=lists.pop('labels_3d'),
        classes=tuple(metadata['classes']),
        fields={**lists, **_per_frame(table, names)},
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
    with _readable(part):
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


@contextmanager
def _readable(part: Place) -> Iterator[None]:
    """Turn whatever Arrow says about a damaged file into one line."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise UserError(f'{part}: not readable as Parquet ({error}); delete it and predict again') from None


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


def _read_part(part: Place, names: list[str]) -> pa.Table:
    with _readable(part):
        available = pq.read_schema(opened(part)).names
    for name in ('frame_id', *names):
        if name not in available:
            raise UserError(
                f"{part}: the field '{name}' is missing, found {', '.join(available)}; predict the pool again with it"
            )
    with _readable(part):
        table = pq.ParquetFile(opened(part)).read(columns=['frame_id', *names])  # pq.read_table would import pandas
        table.validate(full=True)  # offsets of lists that leave their values would be read as they are
    if not pa.types.is_string(table['frame_id'].type) or table['frame_id'].null_count:
        raise UserError(
            f'{part}: found frame ids of type {table["frame_id"].type}, expected text; predict the pool again'
        )
    for name in names:
        if table[name].null_count:
            row = table[name].is_null().to_pylist().index(True)
            raise UserError(f"{part}: frame {table['frame_id'][row]} has no value for '{name}'; predict it again")
    return table.replace_schema_metadata(None)


def _per_box(
    table: pa.Table, names: list[str], frame_ids: np.ndarray, source: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    values, offsets = {}, np.zeros(len(frame_ids) + 1, dtype=np.int64)
    for name in names:
        spec = column(name)
        if spec.layout is not Layout.BOX:
            continue
        flat, own_offsets = _lists(table[name])
        if name == 'bboxes_3d':
            offsets = own_offsets
        different = np.flatnonzero(np.diff(own_offsets) != np.diff(offsets))
        if len(different):
            frame = different[0]
            raise UserError(
                f"{source}: frame {frame_ids[frame]} has {np.diff(own_offsets)[frame]} rows of '{name}', expected "
                f'{np.diff(offsets)[frame]} as in bboxes_3d'
            )
        values[name] = _rows(flat, spec, source)
    return values, offsets


def _per_frame(table: pa.Table, names: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in names:
        spec = column(name)
        if spec.layout is Layout.FRAME:
            values[name] = _rows(_one_chunk(table[name]), spec, name)
        elif spec.layout is Layout.RAGGED:
            flat, offsets = _lists(table[name])
            _refuse_gaps(flat, spec, name)
            values[name] = Ragged(_numbers(flat), offsets)
    return values


def _one_chunk(chunked: pa.ChunkedArray) -> pa.Array:
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()


def _lists(chunked: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    lists = _one_chunk(chunked)
    offsets = _numbers(lists.offsets).astype(np.int64)
    return lists.flatten(), offsets - offsets[0]


def _rows(array: pa.Array, spec: Column, source: str) -> np.ndarray:
    """Turn an Arrow array of scalars or fixed-size lists into ``(N,)`` or ``(N, width)``."""
    _refuse_gaps(array, spec, source)
    if spec.width == 1:
        return _numbers(array).astype(spec.dtype, copy=False)
    if not pa.types.is_fixed_size_list(array.type):
        raise UserError(f"{source}: '{spec.name}' has type {array.type}, expected a fixed-size list per row")
    width = array.type.list_size
    if spec.width and width != spec.width:
        raise UserError(f"{source}: '{spec.name}' has {width} values per row, expected {spec.width}")
    flat = array.flatten()
    _refuse_gaps(flat, spec, source)
    return _numbers(flat).reshape(-1, width)


def _refuse_gaps(array: pa.Array, spec: Column, source: str) -> None:
    """Refuse values that are missing inside a list: Arrow leaves such rows out without a word."""
    if array.null_count:
        raise UserError(f"{source}: {array.null_count} values of '{spec.name}' are missing; predict the pool again")


def _numbers(array: pa.Array) -> np.ndarray:
    """Return the values of an Arrow array, as a view if possible; Arrow's ``to_numpy`` would import pandas."""
    buffer = array.buffers()[1]
    if array.null_count or buffer is None or pa.types.is_boolean(array.type):
        return array.to_numpy(zero_copy_only=False)
    dtype = np.dtype(FLOATS.get(array.type) or str(array.type))  # ``to_pandas_dtype`` of old Arrows imports pandas, too
    return np.frombuffer(buffer, dtype, count=len(array), offset=array.offset * dtype.itemsize)


def check_values(predictions: PoolPredictions) -> None:
    """Check that boxes are finite, scores in [0, 1] and labels known.

    Raises:
        UserError: If not; the message names the frame.
    """
    with np.errstate(invalid='ignore'):
        checks = (
            (~np.isfinite(predictions.boxes).all(1), predictions.boxes, 'bboxes_3d', 'finite numbers'),
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
