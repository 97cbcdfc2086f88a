"""Overlaps in NumPy against shapely and against the compiled kernels."""

import numpy as np
import pytest
from shapely import Polygon

from ssal3d.ops import box_geometry
from ssal3d.ops.box_geometry import bev_corners, corners_3d, overlapping_pairs, paired_bev_iou
from ssal3d.ops.boxes import bev_iou


def random_boxes(rng, count):
    """Crowded boxes, some of them turned by multiples of 90 degrees."""
    boxes = np.column_stack((rng.uniform(0, 8, (count, 2)), rng.normal(0, 0.5, count), rng.uniform(0.5, 4, (count, 3))))
    yaws = np.where(rng.random(count) < 0.5, rng.integers(-4, 5, count) * np.pi / 2, rng.uniform(-7, 7, count))
    return np.column_stack((boxes, yaws))


def test_overlap_equals_shapely():
    rng = np.random.default_rng(0)
    first, second = random_boxes(rng, 3000), random_boxes(rng, 3000)
    second[:300] = first[:300]  # the same box
    second[300:600] = first[300:600] + np.array([*rng.normal(0, 1e-9, 6), np.pi])  # nearly, the other way round
    second[600:900, 3:5] = first[600:900, 3:5] / 2  # inside
    second[600:900, [0, 1, 6]] = first[600:900, [0, 1, 6]]
    shapes = [[Polygon(corners) for corners in bev_corners(boxes)] for boxes in (first, second)]
    common = np.array([a.intersection(b).area for a, b in zip(*shapes)])
    areas = [boxes[:, 3] * boxes[:, 4] for boxes in (first, second)]
    expected = common / (areas[0] + areas[1] - common)
    np.testing.assert_allclose(paired_bev_iou(first, second), expected, atol=1e-9, rtol=1e-7)
    np.testing.assert_allclose(expected[600:900], 0.25)


def test_hardly_turned_boxes_are_no_special_case():
    """Sides that are parallel up to the last bits, at whole and half coordinates."""
    sizes = [4, 2, 1.5]
    for turn in (0, 1e-300, 1e-17, 1e-16, 1e-15, 1e-12, 1e-9, -1e-16):
        for quarter in range(5):
            first = np.array([[10, 20, 0, *sizes, quarter * np.pi / 2 + turn]])
            for shift, expected in ((0, 1), (1, 6 / 10), (2, 1 / 3), (4, 0), (3.999999, 0.000002 / 15.999998)):
                along = bev_corners(np.array([[0, 0, 0, *sizes, quarter * np.pi / 2]]))[0]
                second = np.array([[10, 20, 0, *sizes, quarter * np.pi / 2]])
                second[0, :2] += shift / 4 * (along[0] - along[1])
                assert paired_bev_iou(first, second)[0] == pytest.approx(expected, abs=1e-8)


def test_exact_where_numbers_are():
    boxes = np.array([[0, 0, 0, 4, 2, 1.5, 0], [0, 0, 0, 2, 2, 1.5, 0], [1, 0, 0, 4, 2, 1.5, 0]])
    assert paired_bev_iou(boxes[[0, 0]], boxes[[1, 2]]).tolist() == [0.5, 0.6]
    flat = np.array([[0, 0, 0, 0, 2, 1, 0.3], [0, 0, 0, 0, 0, 0, 0]])
    assert paired_bev_iou(flat, flat).tolist() == [0, 0]


@pytest.mark.parametrize('chunk', [1, 7, 50, 2**17])
def test_pairs_are_those_of_the_kernel(chunk, monkeypatch):
    monkeypatch.setattr(box_geometry, '_PAIRS', chunk)
    rng = np.random.default_rng(1)
    counts = np.array([[3, 0, 5, 0, 12, 1], [4, 2, 0, 0, 11, 9]])
    boxes, others = random_boxes(rng, counts[0].sum()), random_boxes(rng, counts[1].sum())
    offsets = np.concatenate((np.zeros((2, 1), int), counts.cumsum(axis=1)), axis=1)
    found = overlapping_pairs(boxes.astype(np.float32), offsets[0], others.astype(np.float32), offsets[1])
    whole = bev_iou(boxes.astype(np.float32), others.astype(np.float32))
    frames = [np.repeat(np.arange(6), row) for row in counts]
    whole[frames[0][:, None] != frames[1]] = 0
    expected = np.nonzero(whole)
    assert 20 < len(expected[0]) < 200
    np.testing.assert_array_equal(found[:2], expected)
    np.testing.assert_allclose(found[2], whole[expected], atol=1e-12)


def test_nothing_overlaps_nothing():
    none, some = np.zeros((0, 7)), np.ones((2, 7))
    for boxes, others, offsets, other_offsets in (
        (none, none, [0], [0]),
        (none, none, [0, 0], [0, 0]),
        (none, some, [0, 0], [0, 2]),
        (some, none, [0, 2], [0, 0]),
        (some, some, [0, 2, 2], [0, 0, 2]),
    ):
        found = overlapping_pairs(boxes, np.array(offsets), others, np.array(other_offsets))
        assert [len(part) for part in found] == [0, 0, 0]


def test_corners_span_the_box():
    boxes = random_boxes(np.random.default_rng(4), 10)
    corners = corners_3d(boxes)
    np.testing.assert_allclose(corners.mean(1), boxes[:, :3])
    np.testing.assert_allclose(np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1), boxes[:, 3])
    np.testing.assert_allclose(np.linalg.norm(corners[:, 1] - corners[:, 2], axis=1), boxes[:, 4])
    np.testing.assert_allclose(corners[:, 4, 2] - corners[:, 0, 2], boxes[:, 5])
