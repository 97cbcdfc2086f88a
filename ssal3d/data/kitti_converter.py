"""Convert a folder in the KITTI object layout: check every frame, reduce the scans, write MMDetection3D's infos.

Without images, and for unlabelled frames without calibration. Running it again does only what changed; whatever the
number of workers and the interruptions, the same input gives the same bytes.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssal3d.data.conversion import Manifest, remove_leftovers, run_tasks
from ssal3d.data.infos import write_infos
from ssal3d.data.kitti_format import CLASSES, read_split, require_kitti
from ssal3d.data.kitti_frame import REDUCED, FrameResult, FrameTask, convert_frame
from ssal3d.data.kitti_gt_database import write_gt_database
from ssal3d.data.kitti_infos import CATEGORIES, METAINFO
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import SCHEMA, exclusive, remove, write_json
from ssal3d.terminal import console


@dataclass(frozen=True)
class Split:
    """A list of frames.

    Attributes:
        name: File stem in ImageSets.
        folder: ``testing`` for the split ``test``, else ``training``.
        frames: Frame ids in file order.
        labelled: Whether its frames have labels: all of them must, or none.
        calibrated: Whether its frames have calibrations: all of them must, or none.
    """

    name: str
    folder: str
    frames: list[str]
    labelled: bool
    calibrated: bool


@dataclass(frozen=True)
class SplitSummary:
    """What a converted split holds.

    Attributes:
        name: Of the split.
        labelled: Whether its frames have labels.
        frames: Frames in the annotation file.
        points: Points in the scans.
        kept: Points in the reduced scans.
        not_finite: Points removed because they hold NaN or infinity.
        boxes: Annotated boxes by class.
        quarantined: Frames left out because something is wrong with them.
    """

    name: str
    labelled: bool
    frames: int
    points: int
    kept: int
    not_finite: int
    boxes: dict[str, int]
    quarantined: int


def convert_kitti(
    root: str | Path,
    out_dir: str | Path | None = None,
    *,
    extra_tag: str = 'kitti',
    splits: Sequence[str] | None = None,
    image_size: tuple[int, int] | None = None,
    workers: int | None = None,
    on_error: str = 'stop',
    gt_database: bool = False,
) -> list[SplitSummary]:
    """Convert splits and write ``<extra_tag>_infos_<split>.pkl`` and the reduced scans.

    Args:
        root: Folder with ``training/{velodyne,label_2,calib}`` and ``ImageSets``; ``image_2`` and ``planes`` are
            optional.
        out_dir: Where to write; ``root`` by default.
        extra_tag: Prefix of the annotation files.
        splits: Names of lists in ``ImageSets``; by default all of them, but ``test`` only if its scans are there.
        image_size: (width, height) in pixels of frames without an image file; by default told by the calibration.
        workers: Number of processes; by default one for each core.
        on_error: ``stop`` at the first bad frame, or ``quarantine``: leave bad frames out and list them in
            ``quarantine.json``.
        gt_database: Also write the classic paste database of *all* labelled train frames (stock configs only).

    Returns:
        One summary for each split.

    Raises:
        UserError: If data is missing, or a frame is bad and ``on_error`` is ``stop``.
    """
    root, out = Path(root), Path(out_dir or root)
    require_kitti(root)
    lists = _read_splits(root, splits)
    if gt_database and not any(split.name == 'train' and split.labelled for split in lists):
        raise UserError('the paste database needs the labelled split train; add it to --splits')
    with exclusive(out, '--out-dir'):
        manifest = Manifest.read(out / 'manifest.json')
        tasks = _tasks(root, out, lists, image_size, manifest)
        for folder in {task.folder for task in tasks}:
            remove_leftovers(out / folder / REDUCED)
        results = _convert(tasks, manifest, workers or len(os.sched_getaffinity(0)), on_error)
        _write_quarantine(out / 'quarantine.json', results, on_error)
        for split in lists:
            if not _infos(split, results):
                raise UserError(f'split {split.name}: no frame is left; the reasons are in {out / "quarantine.json"}')
            infos = {'metainfo': METAINFO, 'data_list': _infos(split, results)}
            write_infos(out / f'{extra_tag}_infos_{split.name}.pkl', infos)
            if gt_database and split.name == 'train':
                write_gt_database(out, extra_tag, infos)
    return [_summary(split, results) for split in lists]


def _read_splits(root: Path, names: Sequence[str] | None) -> list[Split]:
    folder = root / 'ImageSets'
    known = sorted(path.stem for path in folder.glob('*.txt'))
    if not known:
        raise UserError(
            f'{folder}: no split lists; put train.txt, val.txt, ... here, one frame id a line (the usual ones: '
            'https://github.com/traveller59/second.pytorch/tree/master/second/data/ImageSets)'
        )
    if names is None:
        names = [name for name in known if name != 'test' or (root / 'testing' / 'velodyne').is_dir()]
    for name in names:
        if name not in known:
            raise unknown_name(f'split in {folder}', name, known)
    return [_read_split(root, name) for name in dict.fromkeys(names)]


def _read_split(root: Path, name: str) -> Split:
    folder = 'testing' if name == 'test' else 'training'
    frames = read_split(root / 'ImageSets' / f'{name}.txt')
    labels, calibrations = (_stems(root / folder / kind) for kind in ('label_2', 'calib'))
    return Split(name, folder, frames, not labels.isdisjoint(frames), not calibrations.isdisjoint(frames))


def _stems(folder: Path) -> set[str]:
    return {name.removesuffix('.txt') for name in os.listdir(folder)} if folder.is_dir() else set()


def _tasks(
    root: Path, out: Path, splits: Sequence[Split], image_size: tuple[int, int] | None, manifest: Manifest
) -> list[FrameTask]:
    """Return one task for each distinct frame; a frame in several splits must satisfy the strictest."""
    tasks: dict[str, FrameTask] = {}
    for split in sorted(splits, key=lambda split: (split.labelled, split.calibrated)):
        for frame in split.frames:
            key = f'{split.folder}/{frame}'
            tasks[key] = FrameTask(
                *(root, out, split.folder, frame, split.name, split.labelled, split.calibrated),
                image_size=image_size,
                previous=manifest.records.get(key),
            )
    return [tasks[key] for key in sorted(tasks)]


def _convert(tasks: list[FrameTask], manifest: Manifest, workers: int, on_error: str) -> dict[str, FrameResult]:
    results: dict[str, FrameResult] = {}
    running = run_tasks(convert_frame, tasks, workers, 'converting')
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


def _write_quarantine(path: Path, results: dict[str, FrameResult], on_error: str) -> None:
    """List the bad frames; a file from an earlier run must not outlive its reasons."""
    if on_error == 'stop':
        remove(path)
        return
    frames = [{'frame': result.key, 'reason': result.defect} for result in results.values() if result.defect]
    write_json(path, {'schema': SCHEMA, 'frames': frames})
    for frame in frames:
        console.print(f'quarantined {frame["frame"]}: {frame["reason"]}', highlight=False, soft_wrap=True, markup=False)


def _infos(split: Split, results: dict[str, FrameResult]) -> list[dict[str, Any]]:
    infos = (results[f'{split.folder}/{frame}'].info for frame in split.frames)
    return [info for info in infos if info is not None]


def _summary(split: Split, results: dict[str, FrameResult]) -> SplitSummary:
    good = [result for frame in split.frames if (result := results[f'{split.folder}/{frame}']).info is not None]
    names = {label: name for name, label in CATEGORIES.items()}
    instances = (instance for info in _infos(split, results) for instance in info.get('instances', ()))
    boxes = Counter(names[instance['bbox_label_3d']] for instance in instances)
    totals = {
        key: sum(result.record[key] for result in good if result.record) for key in ('points', 'kept', 'not_finite')
    }
    return SplitSummary(
        name=split.name,
        labelled=split.labelled,
        frames=len(good),
        boxes={name: boxes[name] for name in CLASSES},
        quarantined=len(split.frames) - len(good),
        **totals,
    )
