"""Boxes that cannot be right, and boxes that a second person should look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import degrees, radians

import numpy as np
from numpy.typing import NDArray

from ssal3d.annotation.model import Cuboid, LabelFrame, boxes_of
from ssal3d.data.folder.limits import LONGEST, SAME_OBJECT
from ssal3d.data.scans import FARTHEST_POINT
from ssal3d.ops.boxes import iou_3d, points_per_box

MOST_TILT = radians(5)  # a box that leans more loses its shape when it is set upright
ODD_RATIO = 2.0  # to the median of the class, in one dimension
ENOUGH = 8  # boxes of a class from which its median means something


@dataclass(frozen=True)
class Finding:
    """Something about one box.

    Attributes:
        kind: ``class``, ``size``, ``range``, ``tilt``, ``duplicate``, ``points`` or ``odd_size``.
        text: One line with file and line, what was found, what was expected.
        is_error: Whether the frame cannot be used before it is mended.
        box: The box.
    """

    kind: str
    text: str
    is_error: bool
    box: tuple[float, ...] = ()


def check_frame(frame: LabelFrame, classes: Sequence[str], points: NDArray[np.floating] | None = None) -> list[Finding]:
    """Check a frame's boxes one by one and against each other.

    Args:
        frame: Boxes as they came back from a tool.
        classes: Class names that may occur.
        points: ``(N, >=3)`` of its scan; None leaves out the count of points.
    """
    findings = [finding for cuboid in frame.cuboids for finding in _check_cuboid(cuboid, frame.frame_id, classes)]
    findings += _duplicates(frame)
    if points is not None and frame.cuboids:
        for cuboid, count in zip(frame.cuboids, points_per_box(points, frame.boxes).tolist()):
            if count == 0:
                findings.append(
                    Finding('points', f'{_place(cuboid, frame.frame_id)} holds no point', False, cuboid.box)
                )
    return findings


def odd_sizes(
    frames: Sequence[LabelFrame], reference: Mapping[str, NDArray[np.floating]] | None = None
) -> dict[str, list[Finding]]:
    """Find boxes whose size is far from the others of their class.

    Args:
        frames: All frames.
        reference: ``(N, 3)`` sizes by class name to compare with; by default those of ``frames``.

    Returns:
        Findings by frame id.
    """
    everything = [cuboid for frame in frames for cuboid in frame.cuboids]
    sizes = reference or {
        name: boxes_of([cuboid for cuboid in everything if cuboid.class_name == name])[:, 3:6]
        for name in {cuboid.class_name for cuboid in everything}
    }
    medians = {name: np.median(values, axis=0) for name, values in sizes.items() if len(values) >= ENOUGH}
    findings: dict[str, list[Finding]] = {}
    for frame in frames:
        for cuboid in frame.cuboids:
            if cuboid.class_name not in medians or min(cuboid.box[3:6]) <= 0:
                continue
            ratio = np.array(cuboid.box[3:6]) / medians[cuboid.class_name]
            if (np.maximum(ratio, 1 / ratio) > ODD_RATIO).any():
                found, usual = (_size(values) for values in (cuboid.box[3:6], medians[cuboid.class_name]))
                text = f'{_place(cuboid, frame.frame_id)} measures {found} m, usual for the class is {usual} m'
                findings.setdefault(frame.frame_id, []).append(Finding('odd_size', text, False, cuboid.box))
    return findings


def _check_cuboid(cuboid: Cuboid, frame_id: str, classes: Sequence[str]) -> list[Finding]:
    place, found = _place(cuboid, frame_id), []

    def error(kind: str, text: str) -> None:
        found.append(Finding(kind, f'{place} {text}', True, cuboid.box))

    if cuboid.class_name not in classes:
        close = get_close_matches(cuboid.class_name, classes, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ''
        error('class', f'has a class that is not one of {", ".join(classes)}{hint} (--alias, --ignore-classes)')
    if min(cuboid.box[3:6]) <= 0 or max(cuboid.box[3:6]) > LONGEST:
        error('size', f'measures {_size(cuboid.box[3:6])} m, expected more than 0 and at most {LONGEST:g}')
    if max(map(abs, cuboid.box[:3])) > FARTHEST_POINT:
        centre = ', '.join(f'{value:.1f}' for value in cuboid.box[:3])
        error('range', f'lies at ({centre}), expected at most {FARTHEST_POINT:g} m from the sensor')
    if cuboid.tilt > MOST_TILT:
        error('tilt', f'leans by {degrees(cuboid.tilt):.1f} degrees, expected at most {degrees(MOST_TILT):.0f}')
    return found


def _duplicates(frame: LabelFrame) -> list[Finding]:
    names = np.array([cuboid.class_name for cuboid in frame.cuboids], dtype=np.str_)
    overlap = iou_3d(frame.boxes, frame.boxes)
    same = np.triu((overlap > SAME_OBJECT) & (names[:, None] == names[None, :]), k=1)
    return [
        Finding(
            'duplicate',
            f'{_place(frame.cuboids[second], frame.frame_id)} is the same object as '
            f'{_place(frame.cuboids[first], frame.frame_id)} (3D IoU {overlap[first, second]:.2f}); delete one',
            True,
            frame.cuboids[second].box,
        )
        for first, second in np.argwhere(same).tolist()
    ]


def _place(cuboid: Cuboid, frame_id: str) -> str:
    name = f"'{cuboid.class_name}'" + (f' {cuboid.id}' if cuboid.id else '')
    return f'{cuboid.where or "frame " + frame_id}: box {name}'


def _size(values: Sequence[float] | NDArray[np.floating]) -> str:
    return ' x '.join(f'{value:.2f}' for value in values)
