"""Convert a folder in the KITTI object layout: check every frame, reduce the scans, write MMDetection3D's infos.

Without images, and for unlabelled frames without calibration. Running it again does only what changed; whatever the
number of workers and the interruptions, the same input gives the same bytes.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssal3d.data.conversion import (
    FrameResult,
    Manifest,
    SplitSummary,
    check_overlap,
    convert_frames,
    stop_at,
    summarise,
    write_quarantine,
)
from ssal3d.data.infos import write_infos
from ssal3d.data.kitti_checks import has_camera, in_image, label_faults, view_fault
from ssal3d.data.kitti_format import CLASSES, read_split, require_kitti
from ssal3d.data.kitti_frame import LABEL_FRAMES, REDUCED, FrameTask, convert_frame
from ssal3d.data.kitti_gt_database import write_gt_database
from ssal3d.data.kitti_infos import METAINFO, NAMES
from ssal3d.data.labelled import write_label_state
from ssal3d.data.scans import read_scan
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import exclusive, remove_leftovers


@dataclass(frozen=True)
class Split:
    """A list of frames.

    Attributes:
        name: File stem in ImageSets.
        folder: ``testing`` for the split ``test``, else ``training``.
        frames: Frame ids in file order.
        labelled: The frames that have a label file; an empty file is a frame without objects, no file a frame that
            nobody labelled.
        calibrated: Whether its frames have calibrations: all of them must, or none.
    """

    name: str
    folder: str
    frames: list[str]
    labelled: frozenset[str]
    calibrated: bool


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
    label_frame: str | None = None,
    intensity_max: float | None = None,
    accept_implausible: bool = False,
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
        label_frame: ``camera`` (KITTI's), ``lidar`` (location is the centre of the box in the LiDAR frame, rotation_y
            counter-clockwise from its x axis) or ``lidar-bottom`` (centre of the bottom face); by default ``camera``
            for frames with a calibration, ``lidar`` for others.
        intensity_max: Greatest intensity of the sensor; intensities are divided by it. By default they stay.
        accept_implausible: Go on with labels and calibrations that cannot belong to the scans.

    Returns:
        One summary for each split.

    Raises:
        UserError: If data is missing, a frame is bad and ``on_error`` is ``stop``, labels or calibrations are
            implausible, or a split is evaluated on frames of another one.
    """
    root, out = Path(root), Path(out_dir or root)
    require_kitti(root)
    if label_frame is not None and label_frame not in LABEL_FRAMES:
        raise unknown_name('label frame', label_frame, list(LABEL_FRAMES))
    lists = _read_splits(root, splits)
    for folder in ('training', 'testing'):
        check_overlap({split.name: split.frames for split in lists if split.folder == folder})
    if gt_database and not any(split.name == 'train' and split.labelled for split in lists):
        raise UserError('the paste database needs the labelled split train; add it to --splits')
    with exclusive(out, '--out-dir'):
        manifest = Manifest.read(out / 'manifest.json')
        tasks = _tasks(
            root,
            out,
            lists,
            manifest,
            dict(image_size=image_size, label_frame=label_frame, intensity_max=intensity_max),
        )
        for folder in {task.folder for task in tasks}:
            remove_leftovers(out / folder / REDUCED)
        results = convert_frames(convert_frame, tasks, manifest, workers, on_error)
        write_quarantine(out / 'quarantine.json', results, on_error)
        for split in lists:
            if not _infos(split, results):
                raise UserError(f'split {split.name}: no frame is left; the reasons are in {out / "quarantine.json"}')
        faults = {split.name: _faults(split, results, out) for split in lists}
        if not accept_implausible:
            stop_at(faults)
        return [_write_split(split, results, out, extra_tag, gt_database, faults[split.name]) for split in lists]


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
    return Split(name, folder, frames, labels.intersection(frames), not calibrations.isdisjoint(frames))


def _stems(folder: Path) -> frozenset[str]:
    return frozenset(name.removesuffix('.txt') for name in os.listdir(folder)) if folder.is_dir() else frozenset()


def _tasks(
    root: Path, out: Path, splits: Sequence[Split], manifest: Manifest, options: Mapping[str, Any]
) -> list[FrameTask]:
    """Return one task for each distinct frame; a frame in several splits must satisfy the strictest."""
    tasks: dict[str, FrameTask] = {}
    for split in sorted(splits, key=lambda split: split.calibrated):
        for frame in split.frames:
            key = f'{split.folder}/{frame}'
            tasks[key] = FrameTask(
                *(root, out, split.folder, frame, split.name, frame in split.labelled, split.calibrated),
                previous=manifest.records.get(key),
                **options,
            )
    return [tasks[key] for key in sorted(tasks)]


def _infos(split: Split, results: dict[str, FrameResult]) -> list[dict[str, Any]]:
    infos = (results[f'{split.folder}/{frame}'].info for frame in split.frames)
    return [info for info in infos if info is not None]


def _faults(split: Split, results: dict[str, FrameResult], out: Path) -> list[str]:
    """Return what is implausible about a split as a whole."""
    infos, folder = _infos(split, results), out / split.folder / REDUCED
    points, kept = (_total(split, results, key) for key in ('points', 'kept'))
    view = view_fault(points, kept) if split.calibrated else None
    return [*([view] if view else []), *label_faults(infos, NAMES, lambda frame: read_scan(folder / f'{frame}.bin'))]


def _total(split: Split, results: dict[str, FrameResult], key: str) -> int:
    return sum(record[key] for record in _records(split, results))


def _records(split: Split, results: dict[str, FrameResult]) -> list[dict[str, Any]]:
    """Return what is known of the scans of the good frames."""
    frames = (results[f'{split.folder}/{frame}'] for frame in split.frames)
    return [result.record for result in frames if result.info is not None and result.record]


def _write_split(
    split: Split, results: dict[str, FrameResult], out: Path, tag: str, gt_database: bool, faults: Sequence[str]
) -> SplitSummary:
    path, frames = out / f'{tag}_infos_{split.name}.pkl', _infos(split, results)
    infos = {'metainfo': METAINFO, 'data_list': frames}
    write_infos(path, infos)
    state = write_label_state(out, split.name, path.stem, infos, CLASSES)
    if gt_database and split.name == 'train':
        write_gt_database(out, tag, infos)
    return summarise(
        split.name,
        frames,
        _records(split, results),
        NAMES,
        in_image=in_image if has_camera(frames) else None,
        quarantined=len(split.frames) - len(frames),
        label_state=state,
        faults=tuple(faults),
    )
