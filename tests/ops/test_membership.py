import numpy as np
import pytest

from ssal3d.ops.boxes import points_in_boxes, points_per_box
from ssal3d.ops.membership import outside_boxes, points_of_boxes


def _random(rng, points, boxes, span=40.0):
    cloud = rng.uniform((-span, -span, -3, 0), (span, span, 3, 1), (points, 4)).astype(np.float32)
    centres = rng.uniform((-span, -span, -1), (span, span, 1), (boxes, 3))
    return cloud, np.column_stack((centres, rng.uniform(0.5, 6, (boxes, 3)), rng.uniform(-4, 4, boxes)))


@pytest.mark.parametrize(('points', 'boxes', 'span'), [(3000, 25, 40), (3000, 1, 3), (2000, 60, 5), (50, 200, 300)])
def test_equals_the_test_of_every_pair(points, boxes, span):
    rng = np.random.default_rng(points + boxes)
    for _ in range(5):
        cloud, table = _random(rng, points, boxes, span)
        members = points_of_boxes(cloud, table)
        assert members.counts.tolist() == points_per_box(cloud, table).tolist()
        for k in range(boxes):
            own = members.points[members.offsets[k] : members.offsets[k + 1]]
            assert (np.diff(own) > 0).all()
            assert (points_in_boxes(cloud[own], table[k : k + 1]) == 0).all()
        assert outside_boxes(cloud, table).tolist() == (points_in_boxes(cloud, table) < 0).tolist()


def test_more_hits_than_points():
    """Many boxes in one place: the buffer of hits grows."""
    cloud = np.zeros((100, 4), np.float32)
    table = np.tile([0, 0, 0, 2, 2, 2, 0.3], (50, 1))
    assert points_of_boxes(cloud, table).counts.tolist() == [100] * 50


def test_points_near_the_rim_of_the_grid():
    """The outermost box decides the grid; points on its faces are judged as everywhere else."""
    table = np.array([[0, 0, 0, 4, 2, 2, 0.0], [50, 50, 0, 4, 2, 2, np.pi / 4]])
    edges = np.array([[x, y, z] for x in (-2, -1.9999, 1.9999, 2) for y in (-1, 0.9999) for z in (-1, 1)], np.float32)
    assert points_of_boxes(edges, table).counts.tolist() == points_per_box(edges, table).tolist()


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_hold_nothing(value):
    cloud = np.array([[0, 0, 0, 1], [value, 0, 0, 1], [0, value, 0, 1]], np.float32)
    table = np.array([[0, 0, 0, 2, 2, 2, 0.0], [value, 0, 0, 2, 2, 2, 0.0], [0, 0, 0, value, 2, 2, 0.0]])
    assert points_of_boxes(cloud, table).counts.tolist() == [1, 0, 0]
    assert points_of_boxes(cloud, table[1:2]).counts.tolist() == [0]


def test_nothing_in_nothing():
    cloud, table = np.ones((3, 4), np.float32), np.zeros((0, 7))
    assert points_of_boxes(cloud, table).offsets.tolist() == [0]
    assert outside_boxes(cloud, table).all()
    assert points_of_boxes(cloud[:0], np.ones((2, 7))).counts.tolist() == [0, 0]


def test_far_outlier_box():
    rng = np.random.default_rng(0)
    cloud, table = _random(rng, 2000, 10)
    table[0, :2] = 1e6, -1e6
    assert points_of_boxes(cloud, table).counts.tolist() == points_per_box(cloud, table).tolist()
