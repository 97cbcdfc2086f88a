"""Convert one driving segment of Waymo: write its scans, and a file with the annotations of its frames.

The annotation file of a segment is written last, so it says that the segment is finished; it holds what the segment was
made from, so that a rerun does only what is missing or changed.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssal3d.data.scans import check_plausible
from ssal3d.data.waymo_frame import POINT_FEATURES, WaymoFrame, frame_points
from ssal3d.data.waymo_infos import CATEGORIES, frame_info
from ssal3d.data.waymo_parquet import BOXES, CAMERAS, REQUIRED, read_parquet_frames
from ssal3d.data.waymo_records import read_record_frames
from ssal3d.errors import UnwritableError, UserError
from ssal3d.fileio import SCHEMA, atomic_path, read_json, remove_leftovers, write_json

COUNTS = ('frames', 'points', 'in_no_label_zone', 'without_points', *CATEGORIES)


@dataclass(frozen=True)
class SegmentTask:
    """What to convert.

    Attributes:
        folder: Folder of the split, e.g. ``waymo/training``.
        name: File name of the segment: ``*.tfrecord`` (version 1) or ``*.parquet`` (version 2).
        scans: Where the scans go.
        annotations: The JSON file of the segment.
        interval: Every how many frames one is converted.
        labelled: Whether the split has labels.
        keep_no_label_zones: Keep the points in zones that nobody labelled.
    """

    folder: Path
    name: str
    scans: Path
    annotations: Path
    interval: int
    labelled: bool
    keep_no_label_zones: bool

    @property
    def sources(self) -> list[Path]:
        """The files of the segment that are there."""
        if self.name.endswith('.tfrecord'):
            return [self.folder / self.name]
        components = (*REQUIRED, CAMERAS, *((BOXES,) if self.labelled else ()))
        return [path for component in components if (path := self.folder / component / self.name).exists()]

    def identity(self) -> dict[str, Any]:
        """Return what the result depends on: the source files' sizes and times, and the settings."""
        status = {str(path.relative_to(self.folder)): os.stat(path) for path in self.sources}
        return {
            'sources': {name: [entry.st_size, entry.st_mtime_ns] for name, entry in status.items()},
            'settings': [self.interval, self.labelled, self.keep_no_label_zones, POINT_FEATURES],
        }


@dataclass(frozen=True)
class SegmentResult:
    """What came of it.

    Attributes:
        name: Of the segment's file.
        counts: Numbers by the names in `COUNTS`.
        defect: What is wrong with the segment.
    """

    name: str
    counts: dict[str, int]
    defect: str | None = None


def convert_segment(task: SegmentTask) -> SegmentResult:
    """Convert a segment unless it is converted already, or say what is wrong with it; never raises a `UserError`."""
    try:
        identity = task.identity()
        counts = _finished(task, identity)
        if counts is None:
            counts = _convert(task, identity)
    except UnwritableError:
        raise
    except UserError as error:
        return SegmentResult(task.name, {}, str(error))
    return SegmentResult(task.name, counts)


def _finished(task: SegmentTask, identity: dict[str, Any]) -> dict[str, int] | None:
    """Return the counts of a segment that was converted from the same files in the same way and is complete."""
    if not task.annotations.exists():
        return None
    stored = read_json(task.annotations, required=('identity', 'counts', 'frames'))
    if stored['identity'] != identity:
        return None
    for info in stored['frames']:
        scan = task.scans / info['lidar_points']['lidar_path']
        size = 4 * POINT_FEATURES * info['lidar_points']['num_points']
        if not scan.exists() or scan.stat().st_size != size:
            return None
    return stored['counts']


def _convert(task: SegmentTask, identity: dict[str, Any]) -> dict[str, int]:
    counts, infos = Counter(dict.fromkeys(COUNTS, 0)), []
    names = {label: name for name, label in CATEGORIES.items()}
    for frame in _frames(task):
        path = task.scans / f'{frame.frame_id}.bin'
        points, in_zone = frame_points(frame, task.keep_no_label_zones)
        if not len(points) or not check_plausible(points, path).all():
            raise UserError(
                f'{task.folder / task.name}: frame {frame.frame_id}: {len(points)} points, not all of them finite; fetch '
                'the file again'
            )
        with atomic_path(path) as temporary:
            temporary.write_bytes(np.ascontiguousarray(points, dtype='<f4').tobytes())
        info = frame_info(frame, len(points))
        infos.append((frame.index, info))
        counts.update({'frames': 1, 'points': len(points), 'in_no_label_zone': in_zone})
        counts['without_points'] += len(info.get('empty_instances', ()))
        counts.update(names[row['bbox_label_3d']] for row in info.get('instances', ()))
    if not infos:
        raise UserError(f'{task.folder / task.name}: holds no frame; fetch the file again')
    frames = [info for _, info in sorted(infos, key=lambda pair: pair[0])]
    content = {'schema': SCHEMA, 'identity': identity, 'counts': dict(counts), 'frames': frames}
    write_json(task.annotations, content)
    return dict(counts)


def _frames(task: SegmentTask) -> Iterator[WaymoFrame]:
    if task.name.endswith('.tfrecord'):
        return read_record_frames(task.folder / task.name, task.interval, task.labelled)
    return read_parquet_frames(task.folder, task.name, task.interval, task.labelled)


def clear_leftovers(folder: Path) -> None:
    """Remove temporary files of a killed run; the folder must be held exclusively."""
    if folder.is_dir():
        remove_leftovers(folder)
