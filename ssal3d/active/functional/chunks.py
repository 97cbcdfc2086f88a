"""Work on many rows in chunks of a fixed size: bounded memory, all cores, and results that no thread count changes."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar('Result')
CHUNK = 256  # rows; fixed, because the last bits of a matrix product depend on its shape


def map_chunks(function: Callable[[int, int], Result], rows: int, size: int = CHUNK) -> list[Result]:
    """Return ``function(start, stop)`` of consecutive chunks of ``rows`` rows, in order, computed by several threads.

    Without rows there is one chunk, an empty one, so that the results can always be concatenated. Linear algebra inside
    ``function`` must run on one thread, as it does in `ssal3d.active.query.selection.select`.

    >>> map_chunks(lambda start, stop: stop - start, 600)
    [256, 256, 88]
    >>> map_chunks(lambda start, stop: stop - start, 0)
    [0]
    """
    starts = range(0, max(rows, 1), size)
    if len(starts) == 1:  # starting threads takes longer than many a small chunk
        return [function(0, rows)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(lambda start: function(start, min(start + size, rows)), starts))
