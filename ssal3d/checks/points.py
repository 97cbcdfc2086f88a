"""Whether the detector sees the objects: a voxel layer keeps few points of a voxel, and drops the others at random."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ssal3d.checks.finding import Checked, Finding
from ssal3d.checks.subject import VOXELS, Subject
from ssal3d.checks.tree import at
from ssal3d.ops.boxes import points_in_boxes

FEW = 0.7  # share of the points of an average object below which a person should know; PointPillars keeps 0.94
SEEN = 5  # points from which an object counts

# Points, boxes and class names of a frame.
Frame = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.str_]]


def check_points(subject: Subject, frames: Iterable[Frame]) -> Checked:
    """Count the points of objects that stay in their voxels.

    Args:
        subject: The config.
        frames: ``(P, >=3)`` points, ``(K, 7)`` gravity-centred boxes and ``(K,)`` class names of each frame, m and rad.

    Returns:
        A warning for a class whose average object keeps less than 70 % of its points.
    """
    name, limits, size = 'points of objects', subject.limits, subject.voxel_size
    most = int(at(subject.config, f'{VOXELS}.max_num_points', -1))
    if limits is None or size is None or most <= 0:
        return Checked(name, 'the detector keeps every point')
    by_class: dict[str, list[NDArray[np.float64]]] = {label: [] for label in subject.classes}
    for points, boxes, names in frames:
        shares = kept_shares(points, boxes, limits, size, most)
        for label, own in by_class.items():
            own.append(shares[(names == label) & np.isfinite(shares)])
    means = {label: np.concatenate(own).mean() for label, own in by_class.items() if sum(map(len, own))}
    wrong = [
        Finding(
            f'{VOXELS}.max_num_points',
            f'{most}: of an average {label} {100 * share:.0f} % of the points stay',
            f'{100 * FEW:.0f} % or more; raise it, or lower {VOXELS}.voxel_size',
            'warning',
        )
        for label, share in means.items()
        if share < FEW
    ]
    return Checked(name, _shown(means), tuple(wrong))


def _shown(means: Mapping[str, float]) -> str:
    return 'kept: ' + (', '.join(f'{100 * share:.0f} % of a {label}' for label, share in means.items()) or 'none there')


def kept_shares(
    points: NDArray[np.floating],
    boxes: NDArray[np.floating],
    limits: Sequence[float],
    size: Sequence[float],
    most: int,
) -> NDArray[np.float64]:
    """Return the share of each box's points that a voxel layer keeps on average, if points come in random order.

    Args:
        points: ``(P, >=3)`` points of a frame, m.
        boxes: ``(K, 7)`` gravity-centred boxes, m and rad.
        limits: Range of the voxels: x, y, z minimum, then maximum, m.
        size: Of a voxel, m.
        most: Points that a voxel keeps.

    Returns:
        ``(K,)`` shares; NaN for boxes with fewer than 5 points in the range. O(P K) as `points_in_boxes`.
    """
    low, high = np.array(limits[:3]), np.array(limits[3:])
    inside = points[((points[:, :3] >= low) & (points[:, :3] < high)).all(axis=1)]
    cells = np.floor((inside[:, :3] - low) / np.array(size)).astype(np.int64)
    numbers = cells @ (1, *np.cumprod(cells.max(axis=0, initial=0)[:2] + 1))  # one a cell: sorting rows is slow
    _, voxel, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    stays = np.minimum(1.0, most / counts)[voxel]
    owner = points_in_boxes(inside, boxes)
    held = owner >= 0
    number = np.bincount(owner[held], minlength=len(boxes))
    kept = np.bincount(owner[held], weights=stays[held], minlength=len(boxes))
    return np.where(number >= SEEN, kept / np.maximum(number, 1), np.nan)
