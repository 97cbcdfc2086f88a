"""What a single box that a person drew cannot be, however few there are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.infos import frame_id
from ssal3d.data.plausibility import objects_of, raw_boxes
from ssal3d.data.scan_layout import FARTHEST_POINT
from ssal3d.ops.boxes import iou_3d

LONGEST = 60.0  # m; longer than any vehicle on a road
MOST_YAW = 7.0  # rad; a yaw beyond this full turn is surely in degrees
SAME_OBJECT = 0.8  # 3D IoU of two boxes of one class from which they are one object, drawn twice


def box_faults(infos: Sequence[dict[str, Any]], names: Mapping[int, str]) -> list[str]:
    """Return a line for each limit that boxes break: the first such box, and how many there are.

    Args:
        infos: Frames with gravity-centred LiDAR boxes, their yaws as they were read.
        names: Class names by label.
    """
    owners = [(frame_id(info), names[entry['bbox_label_3d']]) for info in infos for entry in objects_of(info)]
    if not owners:
        return []
    boxes = np.concatenate([raw_boxes(info) for info in infos])
    limits: tuple[tuple[NDArray[np.bool_], Callable[[NDArray], str]], ...] = (
        (
            boxes[:, 3:6].max(axis=1) > LONGEST,
            lambda box: f'measures {_joined(box[3:6], " x ")} m, expected at most {LONGEST:g}',
        ),
        (
            np.abs(boxes[:, :3]).max(axis=1) > FARTHEST_POINT,
            lambda box: f'is too far away, expected at most {FARTHEST_POINT:g} m',
        ),
        (
            np.abs(boxes[:, 6]) > MOST_YAW,
            lambda box: f'has the yaw {box[6]:g}, expected radians; divide degrees by 57.29578',
        ),
        (
            np.concatenate([_doubled(info) for info in infos]),
            lambda box: 'is the same object as a box before it; delete one',
        ),
    )
    faults = []
    for broken, told in limits:
        for row in np.flatnonzero(broken)[:1].tolist():
            frame, name = owners[row]
            more = f' ({broken.sum()} of {len(boxes)} boxes)' if broken.sum() > 1 else ''
            faults.append(f"frame {frame}: '{name}' at ({_joined(boxes[row, :3], ', ')}) {told(boxes[row])}{more}")
    return faults


def _doubled(info: dict[str, Any]) -> NDArray[np.bool_]:
    """Return which boxes of a frame are one before them once more."""
    boxes = raw_boxes(info)
    if len(boxes) < 2:
        return np.zeros(len(boxes), np.bool_)
    labels = np.array([entry['bbox_label_3d'] for entry in objects_of(info)])
    same = (iou_3d(boxes, boxes) > SAME_OBJECT) & (labels[:, None] == labels[None, :])
    return np.triu(same, k=1).any(axis=0)


def _joined(values: NDArray[np.float64], sign: str) -> str:
    return sign.join(f'{value:g}' for value in values)
