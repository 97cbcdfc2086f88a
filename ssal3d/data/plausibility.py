"""Whether the labels of a converted split can belong to its scans; what is said about its boxes in the table."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.infos import frame_id
from ssal3d.data.label_checks import FEWEST_BOXES, Candidates, check_fit, check_numbers, in_runs
from ssal3d.data.label_fit import LabelledScan

Array = NDArray[np.floating]
Info = dict[str, Any]
InImage = Callable[[Mapping[str, Any], Info], bool]

SAMPLE = 60  # labelled frames that are compared with their scans
_MOST_OUTSIDE = 0.25  # share of the boxes outside the image; 0.05 in the official KITTI labels
_CLASS_BOXES, _LEAST_OF_CLASS = 20, 0.2  # a class with so many boxes of which fewer hold a point


def label_faults(
    infos: Sequence[Info],
    names: Mapping[int, str],
    scan_of: Callable[[Info], LabelledScan],
    mistakes: Candidates,
    in_image: InImage | None = None,
) -> list[str]:
    """Return what cannot be right about a split's labels, each with its likely cause.

    Args:
        infos: Converted frames; those without labels are passed over.
        names: Class names by label.
        scan_of: Returns a labelled frame with its points.
        mistakes: Likely mistakes, see `ssal3d.data.label_checks.check_fit`.
        in_image: Whether the camera sees the centre of a box; None for data without a camera, or with whole scans.
    """
    frames = [info for info in infos if 'instances' in info]
    rows = [entry for info in frames for entry in objects_of(info)]
    if len(rows) < FEWEST_BOXES:
        return []
    raw = np.array([entry['bbox_3d'] for entry in rows])
    found = [
        check_numbers(raw[:, 3:6], raw[:, 6]),
        None if in_image is None else _outside(frames, len(rows), in_image),
        *_empty_classes(rows, names),
        check_fit([scan_of(frames[position]) for position in in_runs(len(frames), SAMPLE)], mistakes).fault,
    ]
    return [fault for fault in found if fault]


def box_table(
    infos: Sequence[Info], names: Mapping[int, str], in_image: InImage | None = None
) -> Iterator[tuple[str, int, int, int | None]]:
    """Count the labelled boxes by class.

    Args:
        infos: Converted frames.
        names: Class names by label.
        in_image: As for `label_faults`.

    Yields:
        Class name, boxes, boxes without points, boxes whose centre is outside the image (None without a camera).
    """
    boxes, empty, outside = Counter[str](), Counter[str](), Counter[str]()
    for info in infos:
        for entry in objects_of(info):
            name = names[entry['bbox_label_3d']]
            boxes[name] += 1
            empty[name] += entry['num_lidar_pts'] == 0
            outside[name] += in_image is not None and not in_image(entry, info)
    for name in names.values():
        if boxes[name]:
            yield name, boxes[name], empty[name], None if in_image is None else outside[name]


def objects_of(info: Info) -> list[dict[str, Any]]:
    """Return the instances of a frame that are objects, not regions that nobody labelled."""
    return [entry for entry in info.get('instances', ()) if entry['bbox_label_3d'] >= 0]


def raw_boxes(info: Info) -> NDArray[np.float64]:
    """Return ``(M, 7)`` the ``bbox_3d`` of a frame's objects."""
    return np.array([entry['bbox_3d'] for entry in objects_of(info)], dtype=np.float64).reshape(-1, 7)


def lidar_scan(info: Info, points: Array) -> LabelledScan:
    """Return a frame whose ``bbox_3d`` are gravity-centred LiDAR boxes as `LabelledScan`."""
    boxes = raw_boxes(info)
    return LabelledScan(frame_id(info), points, boxes, boxes, lambda rows: rows)


def _outside(frames: Sequence[Info], total: int, in_image: InImage) -> str | None:
    outside = sum(not in_image(entry, info) for info in frames for entry in objects_of(info))
    if outside <= _MOST_OUTSIDE * total:
        return None
    return (
        f'the camera does not see {100 * outside / total:.0f} % of {total} boxes; likely cause: labels in the LiDAR '
        'frame, or of the whole turn of the LiDAR (`ssal3d create-data folder` keeps whole scans)'
    )


def _empty_classes(rows: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> Iterator[str]:
    boxes = Counter(entry['bbox_label_3d'] for entry in rows)
    filled = Counter(entry['bbox_label_3d'] for entry in rows if entry['num_lidar_pts'] > 0)
    for label, count in boxes.items():
        if count >= _CLASS_BOXES and filled[label] < _LEAST_OF_CLASS * count:
            yield f'{count - filled[label]} of {count} boxes of class {names[label]} hold no point'
