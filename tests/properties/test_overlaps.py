"""What every overlap of boxes is, whatever the boxes: symmetric, the same wherever one looks from, and shapely's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import Polygon

from ssal3d.ops.box_geometry import bev_corners, paired_bev_iou
from ssal3d.ops.boxes import bev_iou, iou_3d, points_in_boxes, points_per_box
from tests.properties.strategies import YAWS, boxes, numbers


def paired(first, second):
    """The NumPy overlap as a table, like those of the kernels."""
    rows, columns = (index.ravel() for index in np.indices((len(first), len(second))))
    return paired_bev_iou(first[rows], second[columns]).reshape(len(first), len(second))


OVERLAPS = pytest.mark.parametrize('overlap', [bev_iou, iou_3d, paired], ids=['bev', '3d', 'numpy'])


@OVERLAPS
@given(first=boxes(), second=boxes())
def test_overlaps_are_symmetric_and_between_0_and_1(overlap, first, second):
    found = overlap(first, second)
    assert ((found >= 0) & (found <= 1 + 1e-9)).all()
    np.testing.assert_allclose(found, overlap(second, first).T, atol=1e-8)


@OVERLAPS
@given(some=boxes())
def test_a_box_overlaps_itself_wholly_whichever_way_it_points(overlap, some):
    turned = some + np.array([0, 0, 0, 0, 0, 0, np.pi])
    quarter = some[:, [0, 1, 2, 4, 3, 5, 6]] + np.array([0, 0, 0, 0, 0, 0, np.pi / 2])
    for same in (some, turned, quarter):
        np.testing.assert_allclose(np.diag(overlap(some, same)), 1, atol=1e-7)


@OVERLAPS
@given(first=boxes(), second=boxes(), turn=YAWS, shift=st.tuples(numbers(-40, 40), numbers(-40, 40), numbers(-3, 3)))
def test_overlaps_are_the_same_from_everywhere(overlap, first, second, turn, shift):
    def moved(some):
        result = some.copy()
        cos, sin = np.cos(turn), np.sin(turn)
        result[:, 0] = cos * some[:, 0] - sin * some[:, 1] + shift[0]
        result[:, 1] = sin * some[:, 0] + cos * some[:, 1] + shift[1]
        result[:, 2] += shift[2]
        result[:, 6] += turn
        return result

    np.testing.assert_allclose(overlap(moved(first), moved(second)), overlap(first, second), atol=1e-7)


@given(first=boxes(), second=boxes())
def test_overlaps_on_the_ground_are_those_of_polygons(first, second):
    shapes = [[Polygon(corners) for corners in bev_corners(some)] for some in (first, second)]
    common = np.array([[a.intersection(b).area for b in shapes[1]] for a in shapes[0]])
    areas = [some[:, 3] * some[:, 4] for some in (first, second)]
    expected = common / (areas[0][:, None] + areas[1] - common)
    for overlap in (bev_iou, paired):
        np.testing.assert_allclose(overlap(first, second), expected, atol=1e-7)


@given(first=boxes(), second=boxes())
def test_overlaps_in_space_are_those_of_polygons_times_their_common_height(first, second):
    shapes = [[Polygon(corners) for corners in bev_corners(some)] for some in (first, second)]
    common = np.array([[a.intersection(b).area for b in shapes[1]] for a in shapes[0]])
    low, high = ([some[:, 2] + sign * some[:, 5] / 2 for some in (first, second)] for sign in (-1, 1))
    height = np.minimum(high[0][:, None], high[1]) - np.maximum(low[0][:, None], low[1])
    volume = common * np.maximum(height, 0)
    volumes = [some[:, 3:6].prod(axis=1) for some in (first, second)]
    expected = volume / (volumes[0][:, None] + volumes[1] - volume)
    np.testing.assert_allclose(iou_3d(first, second), expected, atol=1e-7)


@given(some=boxes(most=4), where=st.lists(st.tuples(*[numbers(-8, 8)] * 3), min_size=1, max_size=20))
def test_points_are_in_boxes_as_they_are_in_polygons(some, where):
    points = np.array(where, dtype=np.float32)
    inside, unsure = np.zeros((2, len(points), len(some)), bool)
    for index, box in enumerate(some):
        dx, dy = (points[:, :2].astype(np.float64) - box[:2]).T
        along = np.abs(np.cos(box[6]) * dx + np.sin(box[6]) * dy) - box[3] / 2
        across = np.abs(np.cos(box[6]) * dy - np.sin(box[6]) * dx) - box[4] / 2
        above = np.abs(points[:, 2] - box[2]) - box[5] / 2
        outside = np.max([along, across, above], axis=0)
        inside[:, index], unsure[:, index] = outside < 0, np.abs(outside) < 1e-4
    sure = ~unsure.any(axis=1)
    expected = np.where(inside.any(axis=1), inside.argmax(axis=1), -1)
    np.testing.assert_array_equal(points_in_boxes(points, some)[sure], expected[sure])
    np.testing.assert_array_equal(points_per_box(points[sure], some), inside[sure].sum(axis=0))
