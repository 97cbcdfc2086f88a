"""KITTI's DontCare regions: a query may exclude frames in which these regions cover predicted boxes.

The regions are labels of frames that nobody bought: the rule is an oracle. Hence it is off by default, the query says
so, and it is a setting of the query, so that all samplers choose from the same pool.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.sampler import Detections
from ssal3d.errors import UserError
from ssal3d.ops.box_geometry import corners_3d
from ssal3d.predictions import PoolPredictions
from ssal3d.predictions.table import Ragged

RULES = ('none', 'paper', 'frame')
PROJECTION_FIELDS = ('lidar2img', 'image_shape')
COVERED = 0.5  # share of a box's image rectangle inside one region
TOO_MANY = 3  # the paper excludes a frame with more than two such boxes
NEAREST = 0.1  # m in front of the camera; corners behind it have no projection

Regions = Mapping[str, Sequence[Sequence[float]]]


def frames_to_exclude(pool: PoolPredictions, detections: Detections, regions: Regions, rule: str) -> NDArray[np.bool_]:
    """Return the frames that the rule excludes.

    Args:
        pool: F frames; rule 'paper' needs its fields ``lidar2img`` and ``image_shape``.
        detections: The boxes that are projected.
        regions: DontCare rectangles ``[x1, y1, x2, y2]`` in pixels by frame id.
        rule: ``'paper'``: three or more boxes lie at least half inside one region; ``'frame'``: the frame has any
            region (released code); ``'none'``.

    Returns:
        ``(F,)`` mask.

    Raises:
        UserError: If a region is not a rectangle.
    """
    if rule == 'none':
        return np.zeros(len(pool), dtype=bool)
    per_frame = _aligned(regions, pool.frame_ids)
    if rule == 'frame':
        return np.diff(per_frame.offsets) > 0
    frame_of_box = detections.predictions.frame_of_box
    relevant = np.flatnonzero(np.diff(per_frame.offsets)[frame_of_box])
    rectangles = image_rectangles(
        detections.predictions.boxes[relevant],
        pool['lidar2img'].reshape(-1, 4, 4)[frame_of_box[relevant]],
        pool['image_shape'][frame_of_box[relevant]],
    )
    inside = covered(rectangles, frame_of_box[relevant], per_frame)
    return np.bincount(frame_of_box[relevant][inside], minlength=len(pool)) >= TOO_MANY


def image_rectangles(
    boxes: NDArray[np.floating], lidar2img: NDArray[np.floating], image_shape: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the image rectangle around each box's corners, clipped to the image.

    Args:
        boxes: ``(N, 7)`` boxes.
        lidar2img: ``(N, 4, 4)`` projections.
        image_shape: ``(N, 2)`` image heights and widths in pixels.

    Returns:
        ``(N, 4)`` as x1, y1, x2, y2 in pixels; without area for boxes outside the image or behind the camera.
    """
    if not len(boxes):
        return np.zeros((0, 4))
    corners = np.concatenate((corners_3d(boxes), np.ones((len(boxes), 8, 1))), axis=-1)
    projected = np.einsum('nij,nkj->nki', lidar2img.astype(np.float64), corners)
    visible = projected[..., 2:3] > NEAREST
    pixels = projected[..., :2] / np.where(visible, projected[..., 2:3], 1)
    low = np.where(visible, pixels, np.inf).min(axis=1)
    high = np.where(visible, pixels, -np.inf).max(axis=1)
    size = image_shape[:, ::-1]
    return np.concatenate((np.clip(low, 0, size), np.clip(high, 0, size)), axis=1)


def covered(rectangles: NDArray[np.float64], frame_of_box: NDArray[np.integer], regions: Ragged) -> NDArray[np.bool_]:
    """Return which image rectangles lie at least half inside one region of their frame.

    Args:
        rectangles: ``(N, 4)`` rectangles as x1, y1, x2, y2.
        frame_of_box: ``(N,)`` frame of each rectangle.
        regions: ``(R, 4)`` rectangles, listed per frame.
    """
    counts = np.diff(regions.offsets)[frame_of_box]
    box = np.repeat(np.arange(len(rectangles)), counts)
    step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    region = regions.values[regions.offsets[frame_of_box][box] + step]
    overlap = np.minimum(rectangles[box, 2:], region[:, 2:]) - np.maximum(rectangles[box, :2], region[:, :2])
    area = (rectangles[:, 2:] - rectangles[:, :2]).clip(0).prod(axis=1)
    hit = (overlap.clip(0).prod(axis=1) >= COVERED * area[box]) & (area[box] > 0)
    return np.bincount(box[hit], minlength=len(rectangles)) > 0


def _aligned(regions: Regions, frame_ids: NDArray[np.str_]) -> Ragged:
    """Return the regions in the order of the pool's frames as ``(R, 4)`` values."""
    values, offsets = [np.zeros((0, 4))], np.zeros(len(frame_ids) + 1, dtype=np.int64)
    for position, frame_id in enumerate(frame_ids.tolist()):
        found = regions.get(frame_id) or ()
        try:
            rows = np.asarray(found, dtype=np.float64).reshape(len(found), 4)
        except (TypeError, ValueError):
            raise UserError(
                f'DontCare regions: frame {frame_id} has {found!r}, expected a list of [x1, y1, x2, y2] in pixels'
            ) from None
        values.append(rows)
        offsets[position + 1] = offsets[position] + len(rows)
    return Ragged(np.concatenate(values), offsets)


def drop_excluded(
    rule: str,
    pool: PoolPredictions,
    detections: Detections,
    regions: Regions | None,
    warn: Callable[[str], None],
) -> NDArray[np.int64]:
    """Return the positions of the frames that the query's DontCare rule leaves in the pool; warns of what it did."""
    if rule == 'none':
        if regions is not None:
            warn("DontCare regions were ignored because the query has dontcare='none'")
        return np.arange(len(pool))
    if regions is None:
        warn(f"dontcare='{rule}' is off because no DontCare regions were given")
        return np.arange(len(pool))
    excluded = frames_to_exclude(pool, detections, regions, rule)
    warn(
        f"oracle: dontcare='{rule}' excluded {excluded.sum()} of {len(pool)} frames by labels of frames that nobody "
        'bought; compare only with queries that use it, too'
    )
    return np.flatnonzero(~excluded)
