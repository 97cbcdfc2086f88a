"""Arrow arrays as NumPy arrays, with one line where a file is damaged or holds gaps."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from ssal3d.errors import UserError
from ssal3d.predictions.places import Place
from ssal3d.predictions.schema import Column, Layout

FLOATS = {
    pa.float16(): np.float16,
    pa.float32(): np.float32,
    pa.float64(): np.float64,
}  # other numbers have NumPy's names


@contextmanager
def readable(part: Place) -> Iterator[None]:
    """Turn whatever Arrow says about a damaged file into one line."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise UserError(f'{part}: not readable as Parquet ({error}); delete it and predict again') from None


def one_chunk(chunked: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()


def lists(chunked: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Return the values of a column of lists one after another, and the ``(N + 1,)`` offsets of the lists."""
    array = one_chunk(chunked)
    offsets = numbers(array.offsets).astype(np.int64)
    # as `flatten`, for which Arrow would import its functions; there are no gaps
    return array.values.slice(offsets[0], offsets[-1] - offsets[0]), offsets - offsets[0]


def rows(array: pa.Array, spec: Column, source: str) -> np.ndarray:
    """Turn an Arrow array of scalars or fixed-size lists into ``(N,)`` or ``(N, width)``."""
    refuse_gaps(array, spec, source)
    if spec.width == 1:
        return numbers(array).astype(spec.dtype, copy=False)
    width = _list_size(array.type, spec, source)
    flat = array.values.slice(array.offset * width, len(array) * width)
    refuse_gaps(flat, spec, source)
    return numbers(flat).reshape(-1, width)


def row_width(found: pa.DataType, spec: Column, source: str) -> int:
    """Return how many values a row of a column has, from the type of the whole column."""
    if spec.layout is Layout.BOX and hasattr(found, 'value_type'):
        found = found.value_type
    return 1 if spec.width == 1 else _list_size(found, spec, source)


def _list_size(found: pa.DataType, spec: Column, source: str) -> int:
    if not pa.types.is_fixed_size_list(found):
        raise UserError(f"{source}: '{spec.name}' has type {found}, expected a fixed-size list per row")
    if spec.width and found.list_size != spec.width:
        raise UserError(f"{source}: '{spec.name}' has {found.list_size} values per row, expected {spec.width}")
    return found.list_size


def refuse_gaps(array: pa.Array, spec: Column, source: str) -> None:
    """Refuse values that are missing inside a list: Arrow leaves such rows out without a word."""
    if array.null_count:
        raise UserError(f"{source}: {array.null_count} values of '{spec.name}' are missing; predict the pool again")


def numbers(array: pa.Array) -> np.ndarray:
    """Return the values of an Arrow array, as a view if possible; Arrow's ``to_numpy`` would import pandas."""
    buffer = array.buffers()[1]
    if array.null_count or buffer is None or pa.types.is_boolean(array.type):
        return array.to_numpy(zero_copy_only=False)
    dtype = np.dtype(FLOATS.get(array.type) or str(array.type))  # ``to_pandas_dtype`` of old Arrows imports pandas, too
    return np.frombuffer(buffer, dtype, count=len(array), offset=array.offset * dtype.itemsize)
