"""Overlap of rotated boxes against shapely, points in boxes against the definition."""

import numpy as np
import pytest
from shapely import Polygon

from ssal3d.ops.box_geometry import bev_corners
from ssal3d.ops.boxes import (
    bev_iou,
    iou_3d,
    overlaps_any,
    points_in_boxes,
    points_per_box,
)


def random_boxes(rng, count):
    """Crowded boxes, some of them turned by multiples of 90 degrees, some equal."""
    boxes = np.column_stack((rng.uniform(0, 8, (count, 2)), rng.normal(0, 0.5, count), rng.uniform(0.5, 4, (count, 3))))
    yaws = np.where(rng.random(count) < 0.5, rng.integers(-4, 5, count) * np.pi / 2, rng.uniform(-7, 7, count))
    boxes = np.column_stack((boxes, yaws))
    boxes[count // 2 : count // 2 + 3] = boxes[:3]
    return boxes


def box(x, y, yaw=0.0):
    return np.array([x, y, 0, 4, 2, 1.5, yaw])


def test_overlap_equals_shapely():
    rng = np.random.default_rng(0)
    first, second = random_boxes(rng, 60), random_boxes(rng, 50)
    second[:5] = first[:5]
    shapes = [[Polygon(corners) for corners in bev_corners(boxes)] for boxes in (first, second)]
    common = np.array([[a.intersection(b).area for b in shapes[1]] for a in shapes[0]])
    areas = [(boxes[:, 3] * boxes[:, 4]) for boxes in (first, second)]
    np.testing.assert_allclose(
        bev_iou(first, second), common / (areas[0][:, None] + areas[1] - common), atol=1e-9, rtol=1e-7
    )
    tops, bottoms = ([b[:, 2] + sign * b[:, 5] / 2 for b in (first, second)] for sign in (1, -1))
    heights = np.minimum.outer(*tops) - np.maximum.outer(*bottoms)
    volume = common * heights.clip(0)
    volumes = [area * boxes[:, 5] for area, boxes in zip(areas, (first, second))]
    np.testing.assert_allclose(
        iou_3d(first, second), volume / (volumes[0][:, None] + volumes[1] - volume), atol=1e-9, rtol=1e-7
    )
    assert (np.diag(bev_iou(first, second))[:5] > 1 - 1e-9).all()


@pytest.mark.parametrize('size', [(0.0, 2.0, 1.5), (-1.0, 2.0, 1.5)])
def test_degenerate_boxes_overlap_nothing(size):
    boxes = np.array([[0, 0, 0, *size, 0.3]])
    assert bev_iou(boxes, boxes).item() == iou_3d(boxes, boxes).item() == 0


def test_overlap_with_others_must_exceed_the_threshold():
    """4 x 2 m boxes: 1.0 m along the length is IoU 0.6, 1.5 m is 0.4545."""
    new = np.stack([box(10, 0), box(10, 0), box(10, 0)])
    old = np.stack([box(11, 0), box(11.5, 0), box(10, 0)])
    assert bev_iou(new[:1], old)[0].round(4).tolist() == [0.6, 0.4545, 1.0]
    offsets = np.array([0, 1, 2, 3])
    assert overlaps_any(new, offsets, old, np.array([0, 1, 2, 2]), 0.5).tolist() == [True, False, False]


def test_overlap_with_others_against_the_matrix():
    rng = np.random.default_rng(2)
    frames = 40
    offsets = [np.cumsum([0, *rng.integers(0, 9, frames)]) for _ in range(2)]
    sets = [np.array([box(*rng.uniform(0, 9, 2), yaw=rng.uniform(-3, 3)) for _ in range(o[-1])]) for o in offsets]
    found = overlaps_any(sets[0], offsets[0], sets[1], offsets[1], 0.3)
    for f in range(frames):
        mine, theirs = (slice(o[f], o[f + 1]) for o in offsets)
        expected = (bev_iou(sets[0][mine], sets[1][theirs]) > 0.3).any(1)
        assert found[mine].tolist() == expected.tolist()
    assert 0 < found.sum() < len(found)


def test_points_in_boxes_follow_the_definition():
    rng = np.random.default_rng(3)
    boxes, points = random_boxes(rng, 20), rng.uniform((-1, -1, -2), (9, 9, 2), (3000, 3)).astype(np.float32)
    offset = points[:, None] - boxes[None, :, :3]
    cos, sin = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    along, across = offset[..., 0] * cos + offset[..., 1] * sin, offset[..., 1] * cos - offset[..., 0] * sin
    margins = boxes[:, 3:6] / 2 - np.abs(np.stack((along, across, offset[..., 2]), -1))
    clear = (np.abs(margins) > 1e-4).all((1, 2))  # float32 decides the others
    inside = (margins > 0).all(2)
    expected = np.where(inside.any(1), inside.argmax(1), -1)
    assert (points_in_boxes(points, boxes)[clear] == expected[clear]).all()
    assert clear.mean() > 0.95
    assert points_per_box(points[clear], boxes).tolist() == inside[clear].sum(0).tolist()


def test_overlap_does_not_depend_on_the_order_whatever_the_input():
    rng = np.random.default_rng(3)
    boxes = random_boxes(rng, 60)
    strange = [0.0, -1.0, -4.0, 1e-9, 1e30, -1e30, np.inf, -np.inf, np.nan]
    rows, columns = rng.integers(0, 60, 40), rng.integers(0, 7, 40)
    boxes[rows, columns] = rng.choice(strange, 40)
    for overlap in (bev_iou, iou_3d):
        found = overlap(boxes, boxes)
        np.testing.assert_array_equal(found, found.T)
        assert np.isfinite(found).all()
        assert (found >= 0).all()
        assert (found <= 1 + 1e-6).all()
    flat = (boxes[:, 3:5] <= 0).any(axis=1)
    assert flat.any()
    assert bev_iou(boxes[flat], boxes).max() == 0, 'also with itself'
