"""What every converter needs: parallel work in a fixed order, a manifest to go on from, a summary of each split."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ssal3d.data.plausibility import InImage, box_table
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, read_json, remove, write_json
from ssal3d.terminal import console, track
from ssal3d.typed import fits

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
        if not fits(records, Mapping[str, Mapping[str, Any]]):
            raise UserError(
                f'{path}: found frames that are no records; remove the file, the frames are converted again'
            )
        return cls(path, records)

    def write(self, *, now: bool = True) -> None:
        """Write the manifest atomically; with ``now=False`` only if it was not written for a few seconds."""
        if now or time.monotonic() - self._written > _SECONDS_BETWEEN_WRITES:
            write_json(self.path, {'schema': SCHEMA, 'frames': dict(sorted(self.records.items()))})
            self._written = time.monotonic()


@dataclass(frozen=True)
class FrameResult:
    """What came of it.

    Attributes:
        key: Of the frame.
        info: Its annotation entry; None for a bad frame.
        record: For the manifest; what an earlier run recorded for a bad frame.
        defect: What is wrong with the frame.
    """

    key: str
    info: dict[str, Any] | None
    record: dict[str, Any] | None
    defect: str | None = None


@dataclass(frozen=True)
class SplitSummary:
    """What a converted split holds.

    Attributes:
        name: Of the split.
        frames: Frames in the annotation file.
        labelled_frames: How many of them have labels.
        points: Points in the scans.
        kept: Points in the reduced scans.
        not_finite: Points removed because they hold NaN or infinity.
        intensity: Lowest and highest intensity in the scans; None where an earlier version converted them.
        boxes: Annotated boxes by class.
        table: Rows of `box_table`.
        quarantined: Frames left out because something is wrong with them.
        label_state: The label state of a partly labelled split.
        faults: What is implausible and was accepted.
        planes: Frames with a road plane.
    """

    name: str
    frames: int
    labelled_frames: int
    points: int
    kept: int
    not_finite: int
    intensity: tuple[float, float] | None
    boxes: dict[str, int]
    table: tuple[tuple[str, int, int, int | None], ...]
    quarantined: int
    label_state: Path | None = None
    faults: tuple[str, ...] = ()
    planes: int = 0

    @property
    def labelled(self) -> bool:
        """Whether any of its frames has labels."""
        return self.labelled_frames > 0


def convert_frames(
    convert: Callable[[Task], FrameResult],
    tasks: Sequence[Task],
    manifest: Manifest,
    workers: int | None,
    on_error: str,
) -> dict[str, FrameResult]:
    """Convert frames and keep the manifest up to date, also when it is interrupted.

    Args:
        convert: Importable; says what is wrong with a frame instead of raising a `UserError`.
        tasks: One for each frame.
        manifest: Gets the records.
        workers: Number of processes; by default one for each core.
        on_error: ``stop`` at the first bad frame, or ``quarantine``.

    Returns:
        Results by the key of the frame.

    Raises:
        UserError: If a frame is bad and ``on_error`` is ``stop``.
    """
    results: dict[str, FrameResult] = {}
    running = run_tasks(convert, tasks, workers or len(os.sched_getaffinity(0)), 'converting')
    try:
        for result in running:
            if result.defect and on_error == 'stop':
                raise UserError(f'{result.defect}; to leave bad frames out, use --on-error quarantine')
            results[result.key] = result
            if result.record is not None:
                manifest.records[result.key] = result.record
                manifest.write(now=False)
    finally:
        running.close()
        manifest.write()
    return results


def write_quarantine(path: Path, results: Mapping[str, FrameResult], on_error: str) -> None:
    """List the bad frames; a file from an earlier run must not outlive its reasons."""
    if on_error == 'stop':
        remove(path)
        return
    frames = [{'frame': result.key, 'reason': result.defect} for result in results.values() if result.defect]
    write_json(path, {'schema': SCHEMA, 'frames': frames})
    for frame in frames:
        console.print(f'quarantined {frame["frame"]}: {frame["reason"]}', highlight=False, soft_wrap=True, markup=False)


def check_overlap(splits: Mapping[str, Sequence[str]]) -> None:
    """Refuse a val split that shares frames with another one: its AP would be measured on what was trained.

    Args:
        splits: Frame ids by name. Lists that begin with ``val``, ``all`` or ``trainval`` may hold frames of ``val``.

    Raises:
        UserError: If there is one.
    """
    measured = set(splits.get('val', ()))
    for name, frames in splits.items():
        shared = measured.intersection(frames)
        if shared and not name.startswith(('val', 'all', 'trainval')):
            raise UserError(
                f'val.txt: {len(shared)} of {len(measured)} frames are also in {name}.txt, for instance {min(shared)}; '
                'what is trained on cannot be measured on, take them out of one list'
            )


def stop_at(faults: Mapping[str, Sequence[str]]) -> None:
    """Refuse implausible labels.

    Args:
        faults: What is wrong, by split.

    Raises:
        UserError: If something is.
    """
    faulty = [name for name, found in faults.items() if found]
    if faulty:
        first, *others = faulty
        also = f' (split {", ".join(others)}: too)' if others else ''
        raise UserError(
            f'split {first}: {"; ".join(faults[first])}{also}; correct it, or go on with --accept-implausible'
        )


def summarise(
    name: str,
    infos: Sequence[dict[str, Any]],
    records: Sequence[Mapping[str, Any]],
    names: Mapping[int, str],
    *,
    in_image: InImage | None = None,
    quarantined: int = 0,
    label_state: Path | None = None,
    faults: tuple[str, ...] = (),
) -> SplitSummary:
    """Count what a converted split holds.

    Args:
        name: Of the split.
        infos: Its frames.
        records: What the manifest knows of their scans.
        names: Class names by label.
        in_image: See `ssal3d.data.plausibility.box_table`.
        quarantined: Frames left out.
        label_state: The label state of a partly labelled split.
        faults: What is implausible and was accepted.
    """
    table = tuple(box_table(infos, names, in_image))
    ranges = [record['intensity'] for record in records if 'intensity' in record]
    return SplitSummary(
        name=name,
        frames=len(infos),
        labelled_frames=sum('instances' in info for info in infos),
        boxes={**dict.fromkeys(names.values(), 0), **{kind: boxes for kind, boxes, *_ in table}},
        table=table,
        intensity=(min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None,
        quarantined=quarantined,
        label_state=label_state,
        faults=faults,
        planes=sum('plane' in info for info in infos),
        **{key: sum(record[key] for record in records) for key in ('points', 'kept', 'not_finite')},
    )


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
