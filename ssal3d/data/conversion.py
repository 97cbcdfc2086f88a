"""What every converter needs: parallel work in a fixed order, a manifest to go on from."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, read_json, write_json
from ssal3d.terminal import track

Task = TypeVar('Task')
Result = TypeVar('Result')

_SECONDS_BETWEEN_WRITES = 5.0


@dataclass
class Manifest:
    """What is known about frames that were converted before, so that a rerun only does what is missing.

    Attributes:
        path: The JSON file.
        records: By frame key, e.g. ``training/000123``; the converter decides what a record holds.
    """

    path: Path
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    _written: float = field(default_factory=time.monotonic)

    @classmethod
    def read(cls, path: Path) -> 'Manifest':
        """Read a manifest; a missing file is an empty one.

        Raises:
            UserError: If the file is damaged.
        """
        records = read_json(path, required=('frames',))['frames'] if path.exists() else {}
        return cls(path, records)

    def write(self, *, now: bool = True) -> None:
        """Write the manifest atomically; with ``now=False`` only if it was not written for a few seconds."""
        if now or time.monotonic() - self._written > _SECONDS_BETWEEN_WRITES:
            write_json(self.path, {'schema': SCHEMA, 'frames': dict(sorted(self.records.items()))})
            self._written = time.monotonic()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed run left in a folder which this run holds exclusively."""
    for path in folder.glob('.*.tmp'):
        path.unlink(missing_ok=True)


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int, description: str
) -> Generator[Result, None, None]:
    """Apply a function to tasks in worker processes, with progress, and yield the results in the order of the tasks.

    Args:
        function: Importable; it and its tasks are sent to other processes.
        tasks: What to do.
        workers: Number of processes; with 1 (or hardly any task) the work is done in this process.
        description: Shown left of the progress bar.

    Raises:
        UserError: If a worker process dies.
    """
    if workers <= 1 or len(tasks) < 2 * workers:
        yield from track(map(function, tasks), description, total=len(tasks))
        return
    context = multiprocessing.get_context('spawn')  # a fork would copy the progress bar's and numba's threads
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        chunk = max(1, min(16, len(tasks) // (4 * workers)))
        yield from track(executor.map(function, tasks, chunksize=chunk), description, total=len(tasks))
    except BrokenProcessPool:
        raise UserError(
            'a worker process ended before its work; if memory ran out, take fewer workers; a script of your own must call '
            "this below `if __name__ == '__main__':`, because workers import the script"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this worker when the main process is gone, killed or not; a worker waiting for tasks would never notice."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
