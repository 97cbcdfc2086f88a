"""Convert a folder of own data: any scans, own classes, labelled in part. Stock MMDetection3D reads the result."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
from ssal3d.data.folder.frame import POINTS, FolderTask, convert_folder_frame
from ssal3d.data.folder.labels import LabelSource, find_labels
from ssal3d.data.folder.layout import MANIFEST, FoundScan, find_scans, hold_out, read_lists, scan_stem
from ssal3d.data.folder.limits import box_faults
from ssal3d.data.folder.point_files import choose_columns
from ssal3d.data.infos import frame_id, frame_ids, read_infos, write_infos
from ssal3d.data.label_checks import usual_mistakes, wrong_axes, wrong_units
from ssal3d.data.labelled import write_label_state
from ssal3d.data.plausibility import label_faults, lidar_scan
from ssal3d.data.scans import read_scan
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import exclusive, remove_leftovers

LABEL_FRAMES = ('lidar', 'lidar-bottom', 'camera')
INFO_VERSION = '1.1'


def convert_folder(
    root: str | Path,
    out: str | Path,
    classes: Sequence[str],
    *,
    labels: str | Path | None = None,
    splits: Sequence[str] | None = None,
    val_share: float | None = None,
    columns: Sequence[str] | None = None,
    load_dim: int | None = None,
    drop: Sequence[str] = (),
    label_frame: str | None = None,
    intensity_max: float | None = None,
    extra_tag: str = 'folder',
    workers: int | None = None,
    on_error: str = 'stop',
    accept_implausible: bool = False,
) -> list[SplitSummary]:
    """Convert a folder and write ``<extra_tag>_infos_<split>.pkl`` and the scans as flat float32 files.

    Args:
        root: The folder; see `ssal3d.data.folder.layout` for what may lie where.
        out: Where to write; not the root, whose scans would be found again.
        classes: Class names in the order of their labels.
        labels: Folder or file of labels; see `ssal3d.data.folder.labels`. By default looked for in the root.
        splits: Names of split lists; by default all, or one split ``train`` if there are none.
        val_share: Without split lists, hold out this share of the labelled frames as ``val``.
        columns: Meaning of every value of a point in `.bin` and `.npy`, e.g. ``x y z i t``.
        load_dim: Values of a point in `.bin` files; by default told by the numbers.
        drop: Classes whose boxes are left out.
        label_frame: ``lidar`` (default), ``lidar-bottom``, or ``camera`` for KITTI lines in KITTI's camera frame, which
            is the default for KITTI lines with a calibration.
        intensity_max: Greatest intensity of the sensor; intensities are divided by it. By default they stay.
        extra_tag: Prefix of the annotation files.
        workers: Number of processes; by default one for each core.
        on_error: ``stop`` at the first bad frame, or ``quarantine``.
        accept_implausible: Go on with labels that cannot belong to the scans.

    Returns:
        One summary for each split.

    Raises:
        UserError: If data is missing, a frame is bad and ``on_error`` is ``stop``, or labels are implausible.
    """
    root, out = Path(root), Path(out)
    names = _check_classes(classes, drop)
    if label_frame is not None and label_frame not in LABEL_FRAMES:
        raise unknown_name('label frame', label_frame, list(LABEL_FRAMES))
    if out.resolve() == root.resolve():
        raise UserError(f'{out}: the result cannot lie in --root-path itself; give another --out-dir')
    scans = find_scans(root, out)
    source = find_labels(root, None if labels is None else Path(labels), {s.frame_id: scan_stem(s.path) for s in scans})
    lists = read_lists(root, scans, splits)
    if val_share is not None:
        if set(lists) != {'train'} or len(lists['train']) != len(scans):
            raise UserError('--val-share: there are split lists already; take val from one of them')
        lists = hold_out(scans, source.frames, val_share)
    options = dict(
        classes=names,
        dropped=frozenset(drop),
        columns=choose_columns(columns, load_dim),
        label_frame=label_frame,
        intensity_max=intensity_max,
    )
    calibrations = {scan.frame_id: root / 'calib' / f'{scan.frame_id}.txt' for scan in scans}
    return convert_scans(
        scans,
        source,
        lists,
        out,
        options,
        calibrations={frame: path for frame, path in calibrations.items() if path.exists()},
        extra_tag=extra_tag,
        workers=workers,
        on_error=on_error,
        accept_implausible=accept_implausible,
    )


def convert_scans(
    scans: Sequence[FoundScan],
    source: LabelSource,
    lists: Mapping[str, Sequence[str]],
    out: Path,
    options: Mapping[str, Any],
    *,
    calibrations: Mapping[str, Path] | None = None,
    extra_tag: str = 'folder',
    workers: int | None = None,
    on_error: str = 'stop',
    accept_implausible: bool = False,
    judge_boxes: bool = True,
) -> list[SplitSummary]:
    """Convert scans and labels that were found, wherever they come from.

    Args:
        scans: All scans.
        source: Their labels.
        lists: Frame ids by split.
        out: Where to write.
        options: What all frames have in common, as `FolderTask` has it; ``classes`` among them.
        calibrations: KITTI calibration file by frame id.
        extra_tag: Prefix of the annotation files.
        workers: Number of processes; by default one for each core.
        on_error: ``stop`` at the first bad frame, or ``quarantine``.
        accept_implausible: Go on with labels that cannot belong to the scans.
        judge_boxes: Whether every single box must keep to `ssal3d.data.folder.limits`; nobody can mend one of an
            official data set.

    Returns:
        One summary for each split.

    Raises:
        UserError: As for `convert_folder`.
    """
    check_overlap(lists)
    with exclusive(out, '--out-dir'):
        _check_earlier(out / f'{extra_tag}_infos_val.pkl', lists)
        manifest = Manifest.read(out / MANIFEST)
        listed = {frame for frames in lists.values() for frame in frames}
        tasks = [
            FolderTask(
                scan,
                out,
                labels=source.files.get(scan.frame_id) or source.table.get(scan.frame_id),
                calibration=(calibrations or {}).get(scan.frame_id),
                previous=manifest.records.get(scan.frame_id),
                **options,
            )
            for scan in scans
            if scan.frame_id in listed
        ]
        remove_leftovers(out / POINTS)
        results = convert_frames(convert_folder_frame, tasks, manifest, workers, on_error)
        write_quarantine(out / 'quarantine.json', results, on_error)
        return _write(out, extra_tag, lists, results, options['classes'], accept_implausible, judge_boxes)


def _check_classes(classes: Sequence[str], drop: Sequence[str]) -> tuple[str, ...]:
    for name in classes:
        if classes.count(name) > 1 or name in drop:
            raise UserError(f'--classes: {name!r} is given twice, or also to --drop; name every class once')
    if not classes:
        raise UserError('--classes: expected at least one class name')
    return tuple(classes)


def _check_earlier(path: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """Refuse to train on what the ``val`` of an earlier run measures, if this run writes no other."""
    if 'val' in lists or not path.exists():
        return
    measured = frame_ids(read_infos(path))
    for name, frames in lists.items():
        try:
            check_overlap({name: frames, 'val': measured})
        except UserError:
            shared = set(measured).intersection(frames)
            raise UserError(
                f'{path}: an earlier run held out {len(shared)} frames that are in {name} now, for instance '
                f'{min(shared)}; hold frames out again (--val-share, or a list val.txt), or remove the file'
            ) from None


def _write(
    out: Path,
    tag: str,
    lists: Mapping[str, Sequence[str]],
    results: Mapping[str, FrameResult],
    classes: tuple[str, ...],
    accept_implausible: bool,
    judge_boxes: bool,
) -> list[SplitSummary]:
    names = dict(enumerate(classes))
    metainfo = {
        'categories': {name: label for label, name in names.items()},
        'dataset': tag,
        'info_version': INFO_VERSION,
    }
    infos = {name: [info for f in frames if (info := results[f].info) is not None] for name, frames in lists.items()}
    for name, of_split in infos.items():
        if not of_split:
            raise UserError(f'split {name}: no frame is left; the reasons are in {out / "quarantine.json"}')
    faults = {name: _faults(of_split, names, out) for name, of_split in infos.items()}
    if judge_boxes:
        faults = {name: faults[name] + box_faults(of_split, names) for name, of_split in infos.items()}
    if not accept_implausible:
        stop_at(faults)
    summaries = []
    for name, of_split in infos.items():
        path = out / f'{tag}_infos_{name}.pkl'
        frames = [_wrapped(info) for info in of_split]
        content = {'metainfo': metainfo, 'data_list': frames}
        write_infos(path, content)
        records = [record for info in of_split if (record := results[frame_id(info)].record)]
        summaries.append(
            summarise(
                name,
                frames,
                records,
                names,
                quarantined=len(lists[name]) - len(of_split),
                label_state=write_label_state(out, name, path.stem, content, classes),
                faults=tuple(faults[name]),
            )
        )
    return summaries


def _faults(infos: Sequence[dict[str, Any]], names: Mapping[int, str], out: Path) -> list[str]:
    mistakes = {**wrong_axes(), **wrong_units(), **usual_mistakes(on_bottom=False)}

    def scan_of(info: dict[str, Any]) -> Any:
        width = info['lidar_points']['num_pts_feats']
        return lidar_scan(info, read_scan(out / POINTS / f'{frame_id(info)}.bin', width))

    return label_faults(infos, names, scan_of, mistakes)


def _wrapped(info: dict[str, Any]) -> dict[str, Any]:
    """Return a frame whose yaws lie in [-pi, pi); until here they were judged as they were read."""
    if 'instances' not in info:
        return info
    rows = []
    for entry in info['instances']:
        *box, yaw = entry['bbox_3d']
        rows.append(entry | {'bbox_3d': [*box, float((yaw + np.pi) % (2 * np.pi) - np.pi)]})
    return info | {'instances': rows}
