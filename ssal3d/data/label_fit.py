"""How well boxes fit the points of their scans: what tells right labels from every kind of wrong ones.

A right box is full of its object's points. A box that is turned, has its sizes in another order, stands half its height
too high or belongs to another frame holds fewer of them. The road says nothing and is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssal3d.ops.box_kernels import is_inside, membership_table
from ssal3d.ops.kernel import kernel

Array = NDArray[np.floating]

ROAD_HEIGHT = 0.2  # metres above the lowest points near a box that still count as road
_SURROUNDINGS = 2.0  # metres around a box in which the road is looked for
_ROAD_SHARE = 0.05  # share of the points near a box that lie at the height of the road
_FEWEST_POINTS = 10  # a box tells candidates apart only if one of them holds so many points


@dataclass(frozen=True)
class LabelledScan:
    """A labelled frame.

    Attributes:
        frame: Its id.
        points: ``(N, >=3)`` scan in the LiDAR frame, metres.
        boxes: ``(M, 7)`` gravity-centred labels in the LiDAR frame.
        raw: ``(M, 7)`` the same labels as the file has them: place, sizes and angle in the order of the data set.
        read: Turns such rows into LiDAR boxes.
    """

    frame: str
    points: Array
    boxes: Array
    raw: Array
    read: Callable[[Array], Array]


def object_points(points: Array, boxes: Array) -> NDArray[np.int32]:
    """Return how many points each box holds that are not road.

    Args:
        points: ``(N, >=3)`` scan.
        boxes: ``(M, 7)`` gravity-centred boxes; sizes may be anything.

    Returns:
        ``(M,)`` counts of points in the box, more than `ROAD_HEIGHT` above the lowest points around it. O(N M).
    """
    return _object_points(
        np.ascontiguousarray(points[:, :3], dtype=np.float32),
        np.ascontiguousarray(boxes, dtype=np.float64).reshape(-1, 7),
    )


def compare(counts: NDArray[np.integer]) -> Array:
    """Compare candidates for the same boxes by the points that they hold.

    Args:
        counts: ``(C, M)`` object points of C candidates for each of M boxes.

    Returns:
        ``(C,)`` mean share of the best candidate's points, over the boxes of which any candidate holds ten; NaN if
        there are fewer than ten such boxes. The right candidate is near 1.
    """
    best = counts.max(axis=0, initial=0)
    telling = best >= _FEWEST_POINTS
    if telling.sum() < _FEWEST_POINTS:
        return np.full(len(counts), np.nan)
    return (counts[:, telling] / best[telling]).mean(axis=1)


@kernel
def _object_points(points: Array, boxes: Array) -> NDArray[np.int32]:
    table = membership_table(boxes)
    result = np.zeros(boxes.shape[0], dtype=np.int32)
    heights = np.empty(points.shape[0], dtype=np.float32)
    for k in range(boxes.shape[0]):
        reach = np.sqrt(table[k, 8]) + np.float32(_SURROUNDINGS)
        near = 0
        for i in range(points.shape[0]):
            dx, dy = points[i, 0] - table[k, 0], points[i, 1] - table[k, 1]
            if dx * dx + dy * dy < reach * reach:
                heights[near] = points[i, 2]
                near += 1
        if near == 0:
            continue
        road = np.sort(heights[:near])[int(_ROAD_SHARE * near)] + np.float32(ROAD_HEIGHT)
        for i in range(points.shape[0]):
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            if z > road and is_inside(x, y, z, table[k]):
                result[k] += 1
    return result


def _warm_up() -> None:
    object_points(np.ones((1, 4), np.float32), np.ones((1, 7)))
