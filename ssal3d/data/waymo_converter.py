"""Convert the Waymo Open Dataset, version 1 (tfrecord) or 2 (Parquet): scans, and MMDetection3D's annotation files.

The unit of work is a driving segment; a rerun goes on with what is missing. Several machines can share the work, each
with a shard of the segments: whoever finishes the last segment of a split writes its annotation file.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssal3d.data.conversion import run_tasks
from ssal3d.data.infos import frame_ids, write_infos
from ssal3d.data.waymo_infos import METAINFO
from ssal3d.data.waymo_segment import COUNTS, SegmentResult, SegmentTask, clear_leftovers, convert_segment
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import SCHEMA, exclusive, read_json, remove, write_json
from ssal3d.terminal import console

# Split -> name in the annotation file and folder of the scans, as MMDetection3D's configs expect them.
SPLITS = {
    'training': ('train', 'training/velodyne'),
    'validation': ('val', 'training/velodyne'),
    'testing': ('test', 'testing/velodyne'),
}
# The S-SSAL paper takes every 20th frame for the pool; the released code evaluates every 10th.
INTERVALS = {'training': 20, 'validation': 10, 'testing': 10}


@dataclass(frozen=True)
class WaymoSummary:
    """What a converted split holds.

    Attributes:
        name: Of the split.
        segments: Segments converted.
        of_segments: Segments of the split.
        quarantined: Segments left out because something is wrong with them.
        counts: Frames, points and boxes in the segments that this run had to do with; see `COUNTS`.
        infos: The annotation file; None as long as segments of other shards are missing.
    """

    name: str
    segments: int
    of_segments: int
    quarantined: int
    counts: dict[str, int]
    infos: Path | None


def convert_waymo(
    root: str | Path,
    out_dir: str | Path,
    *,
    splits: Sequence[str] | None = None,
    intervals: Mapping[str, int] | None = None,
    extra_tag: str = 'waymo',
    keep_no_label_zones: bool = False,
    shard: tuple[int, int] = (0, 1),
    workers: int | None = None,
    on_error: str = 'stop',
) -> list[WaymoSummary]:
    """Convert splits and write scans and ``<extra_tag>_infos_<train, val or test>.pkl``.

    Args:
        root: Folder with ``training``, ``validation`` and ``testing``: ``*.tfrecord`` files in them, or a folder for
            each component with ``*.parquet`` files.
        out_dir: Where to write.
        splits: Which splits; by default all that are there.
        intervals: Every how many frames of a segment one is converted, by split; changes to `INTERVALS`.
        extra_tag: Prefix of the annotation files.
        keep_no_label_zones: Keep the points in zones that nobody labelled.
        shard: ``(i, n)``: convert only the segments i, i + n, i + 2 n, ... of each split.
        workers: Number of processes; by default one for each core.
        on_error: ``stop`` at the first bad segment, or ``quarantine``: leave bad ones out and list them.

    Returns:
        One summary for each split.

    Raises:
        UserError: If data is missing, an option is wrong, or a segment is bad and ``on_error`` is ``stop``.
    """
    root, out = Path(root), Path(out_dir)
    every = _intervals(intervals)
    if not 0 <= shard[0] < shard[1]:
        raise UserError(f'shard: found {shard[0]} of {shard[1]}, expected a number from 0 to one less than the shards')
    folders = _find_splits(root, splits)
    summaries = []
    for split, names in folders.items():
        tasks = {name: _task(root, out, split, name, every[split], keep_no_label_zones) for name in names}
        mine = [tasks[name] for name in names[shard[0] :: shard[1]]]
        with exclusive(out / 'segments' / split / f'shard_{shard[0]}_of_{shard[1]}', '--out-dir'):
            if shard == (0, 1):
                clear_leftovers(out / SPLITS[split][1])
            results = _convert(mine, workers or len(os.sched_getaffinity(0)), on_error, f'converting {split}')
            bad = _write_quarantine(_quarantine_file(out, split, shard), results, on_error)
        good = [task for name, task in tasks.items() if name not in _quarantined(out, split)]
        infos = _write_infos(out / f'{extra_tag}_infos_{SPLITS[split][0]}.pkl', good, split)
        counts = {name: sum(result.counts.get(name, 0) for result in results) for name in COUNTS}
        summaries.append(WaymoSummary(split, len(mine) - bad, len(names), bad, counts, infos))
    return summaries


def _intervals(changes: Mapping[str, int] | None) -> dict[str, int]:
    for split, interval in (changes or {}).items():
        if split not in SPLITS:
            raise unknown_name('split', split, list(SPLITS))
        if interval < 1:
            raise UserError(f'interval of {split}: found {interval}, expected 1 or more')
    return {**INTERVALS, **(changes or {})}


def _find_splits(root: Path, splits: Sequence[str] | None) -> dict[str, list[str]]:
    """Return the file names of the segments of each split."""
    segments = {}
    for split in dict.fromkeys(splits or SPLITS):
        if split not in SPLITS:
            raise unknown_name('split', split, list(SPLITS))
        records, tables = root / split, root / split / 'lidar'
        names = sorted(path.name for path in records.glob('*.tfrecord'))
        if names and tables.is_dir():
            raise UserError(
                f'{records}: holds version 1 (*.tfrecord) and version 2 (lidar/*.parquet); keep one of them'
            )
        names = names or sorted(path.name for path in tables.glob('*.parquet'))
        if names:
            segments[split] = names
        elif splits:
            raise UserError(
                f'{records}: no *.tfrecord and no lidar/*.parquet; download the split from https://waymo.com/open'
            )
    if not segments:
        raise UserError(
            f'{root}: none of {", ".join(SPLITS)} holds *.tfrecord or lidar/*.parquet files; --root-path is the folder '
            'with these folders'
        )
    return segments


def _task(root: Path, out: Path, split: str, name: str, interval: int, keep_no_label_zones: bool) -> SegmentTask:
    return SegmentTask(
        folder=root / split,
        name=name,
        scans=out / SPLITS[split][1],
        annotations=out / 'segments' / split / f'{Path(name).stem}.json',
        interval=interval,
        labelled=split != 'testing',
        keep_no_label_zones=keep_no_label_zones,
    )


def _convert(tasks: list[SegmentTask], workers: int, on_error: str, description: str) -> list[SegmentResult]:
    results = []
    running = run_tasks(convert_segment, tasks, workers, description)
    try:
        for result in running:
            if result.defect and on_error == 'stop':
                raise UserError(f'{result.defect}; to leave bad segments out, use --on-error quarantine')
            results.append(result)
    finally:
        running.close()
    return results


def _quarantine_file(out: Path, split: str, shard: tuple[int, int] | None) -> Path:
    return out / f'quarantine_{split}_{"*" if shard is None else f"{shard[0]}_of_{shard[1]}"}.json'


def _write_quarantine(path: Path, results: Sequence[SegmentResult], on_error: str) -> int:
    """List the bad segments and return their number; a file from an earlier run must not outlive its reasons."""
    bad = [{'segment': result.name, 'reason': result.defect} for result in results if result.defect]
    if on_error == 'stop' or not bad:
        remove(path)
        return 0
    write_json(path, {'schema': SCHEMA, 'segments': bad})
    for entry in bad:
        console.print(
            f'quarantined {entry["segment"]}: {entry["reason"]}', highlight=False, soft_wrap=True, markup=False
        )
    return len(bad)


def _quarantined(out: Path, split: str) -> set[str]:
    """Return the names of the bad segments of a split, whichever shard found them."""
    files = out.glob(_quarantine_file(out, split, None).name)
    return {entry['segment'] for file in files for entry in read_json(file, required=('segments',))['segments']}


def _write_infos(path: Path, tasks: Sequence[SegmentTask], split: str) -> Path | None:
    """Write the annotation file of a split from those of its segments, if all are there and made in the same way."""
    frames = []
    for task in tasks:
        if not task.annotations.exists():
            return None
        stored = read_json(task.annotations, required=('identity', 'frames'))
        if stored['identity'] != task.identity():
            return None  # of another interval or source: its shard has still to run
        frames += stored['frames']
    if not frames:
        raise UserError(f'split {split}: no segment is left; the reasons are in the quarantine file')
    infos = {'metainfo': METAINFO, 'data_list': frames}
    frame_ids(infos, f'split {split}')  # a segment may have been downloaded twice, under two names
    write_infos(path, infos)
    return path
