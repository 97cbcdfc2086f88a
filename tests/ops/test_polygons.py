"""Boxes that touch polygons, against shapely."""

import numpy as np
import pytest
from shapely import affinity, geometry

from ssal3d.ops.polygons import in_polygon, touches_polygons

STAR = np.array([[0, 10], [2, 3], [9, 3], [4, -1], [6, -9], [0, -4], [-6, -9], [-4, -1], [-9, 3], [-2, 3]], dtype=float)


def footprint(box):
    x, y, _, length, width, _, yaw = box
    shape = affinity.rotate(geometry.box(-length / 2, -width / 2, length / 2, width / 2), yaw, use_radians=True)
    return affinity.translate(shape, x, y)


@pytest.mark.parametrize('seed', range(3))
def test_random_boxes_and_a_star_agree_with_shapely(seed):
    random = np.random.default_rng(seed)
    boxes = np.column_stack(
        (random.uniform(-12, 12, (400, 2)), np.zeros(400), random.uniform(0.2, 6, (400, 3)), random.uniform(-4, 4, 400))
    )
    expected = [footprint(box).intersects(geometry.Polygon(STAR)) for box in boxes]
    assert 100 < sum(expected) < 390
    assert touches_polygons(boxes, [STAR]).tolist() == expected
    assert touches_polygons(boxes, [STAR[::-1], STAR + 1000]).tolist() == expected  # either way round, with others


def test_a_box_around_a_polygon_and_one_within_touch_it():
    big, small, cross = [0, 0, 0, 50, 50, 1, 0.3], [0, 0, 0, 0.1, 0.1, 1, 0.3], [0, 0, 0, 60, 0.1, 1, 0]
    assert touches_polygons(np.array([big, small, cross]), [STAR]).tolist() == [True] * 3
    assert touches_polygons(np.array([cross]), [STAR + np.array([0, 30])]).tolist() == [False]


def test_nothing_touches_nothing():
    box = np.array([[0.0, 0, 0, 4, 2, 1.5, 0]])
    assert touches_polygons(box, []).tolist() == [False]
    assert touches_polygons(box, [STAR[:2]]).tolist() == [False]
    assert touches_polygons(np.zeros((0, 7)), [STAR]).tolist() == []


def test_points_in_a_polygon():
    assert in_polygon(np.array([[0.0, 0], [8, 9], [0, -5]]), STAR).tolist() == [True, False, False]
