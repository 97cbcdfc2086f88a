"""Boxes and polygons on the ground."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ssal3d.ops.box_geometry import bev_corners

Array = NDArray[np.floating]


def touches_polygons(boxes: Array, polygons: Sequence[Array]) -> NDArray[np.bool_]:
    """Return which boxes have some ground in common with any of some polygons.

    Args:
        boxes: ``(N, 7)`` gravity-centred boxes.
        polygons: ``(K, 2)`` corners of each polygon in order, not necessarily convex.

    Returns:
        ``(N,)`` True for boxes that touch one. O(N K) for every polygon.
    """
    corners, touching = bev_corners(boxes), np.zeros(len(boxes), dtype=np.bool_)
    for given in polygons:
        polygon = np.asarray(given, dtype=np.float64).reshape(-1, 2)
        if len(polygon) < 3 or not len(boxes):
            continue
        inside = in_polygon(corners.reshape(-1, 2), polygon).reshape(-1, 4).any(axis=1)
        around = _in_boxes(polygon, np.asarray(boxes, dtype=np.float64)).any(axis=1)
        touching |= inside | around | _edges_cross(corners, polygon).any(axis=(1, 2))
    return touching


def in_polygon(points: Array, polygon: Array) -> NDArray[np.bool_]:
    """Return which of ``(N, 2)`` points lie in a polygon of ``(K, 2)`` corners, by counting crossings of a ray."""
    x, y = np.asarray(points, dtype=np.float64).T[:, :, None]
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    with np.errstate(divide='ignore', invalid='ignore'):
        crossing = ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return crossing.sum(axis=1) % 2 == 1


def _in_boxes(points: Array, boxes: Array) -> NDArray[np.bool_]:
    """Return ``(N, K)``: which points lie on the ground of which box."""
    offset = points[None] - boxes[:, None, :2]
    cos, sin = np.cos(boxes[:, 6])[:, None], np.sin(boxes[:, 6])[:, None]
    along, across = offset[..., 0] * cos + offset[..., 1] * sin, offset[..., 1] * cos - offset[..., 0] * sin
    return (np.abs(along) <= boxes[:, None, 3] / 2) & (np.abs(across) <= boxes[:, None, 4] / 2)


def _edges_cross(corners: Array, polygon: Array) -> NDArray[np.bool_]:
    """Return ``(N, 4, K)``: which sides of which box cross which side of the polygon."""
    a, b = corners[:, :, None], np.roll(corners, -1, axis=1)[:, :, None]
    c, d = polygon[None, None], np.roll(polygon, -1, axis=0)[None, None]
    return (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)


def _side(start: Array, end: Array, point: Array) -> Array:
    """Positive for points on the left of the line from start to end."""
    along, to = end - start, point - start
    return along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]
