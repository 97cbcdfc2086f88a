import numpy as np
import pytest

from ssal3d.active.functional.collaborative_greedy import count_precision, inverse_frequency_caps, manual_caps


def test_manual_caps_of_the_shipped_configs():
    assert manual_caps(np.array([0.3, 1.1, 1.6]), 150).tolist() == [16, 56, 81]
    assert manual_caps(np.array([0.1, 0.2, 2.7]), 5000) == pytest.approx([167.667, 334.333, 4501], abs=1e-3)
    assert manual_caps(np.ones(3), 6).tolist() == [3, 3, 3]
    assert manual_caps(np.ones(1), 6).tolist() == [7]
    assert manual_caps(np.full(4, 1.0), 20).tolist() == [6] * 4


def test_manual_weights_are_scaled_to_the_number_of_classes():
    assert manual_caps(np.array([3.0, 11.0, 16.0]), 150) == pytest.approx([16, 56, 81])
    barely_off = np.array([0.3, 1.1, 1.6 + 5e-7])  # within the tolerance: taken as it is
    assert manual_caps(barely_off, 150)[0] == 16


def test_equation_6_check_values():
    assert inverse_frequency_caps(np.array([100, 50, 50]), 150).tolist() == [30, 60, 60]
    assert inverse_frequency_caps(np.array([160, 28, 12]), 150, minimum=0) == pytest.approx(
        [7.48, 42.76, 99.76], abs=0.005
    )


def test_equation_6_has_a_floor_and_counts_an_absent_class_as_one():
    assert inverse_frequency_caps(np.array([160, 28, 12]), 300)[0] == pytest.approx(14.96, abs=0.005)
    assert inverse_frequency_caps(np.array([16000, 28, 12]), 300)[0] == 10  # 0.1 * 300 / 3
    assert inverse_frequency_caps(np.array([16000, 28, 12]), 3)[0] == 1
    assert inverse_frequency_caps(np.array([16000, 28, 12]), 300, minimum=25)[0] == 25
    caps = inverse_frequency_caps(np.array([10, 0]), 11)
    assert caps.tolist() == inverse_frequency_caps(np.array([10, 1]), 11).tolist() == [1, 10]


def test_caps_do_not_depend_on_the_order_of_the_classes():
    rng = np.random.default_rng(0)
    for _ in range(200):
        counts = rng.integers(0, 300, 4)
        order = rng.permutation(4)
        expected = inverse_frequency_caps(counts, 150)[order]
        np.testing.assert_array_equal(inverse_frequency_caps(counts[order], 150), expected)


def test_precision_of_counts_by_frame_and_class():
    predicted = np.array([[3, 0, 20], [0, 6, 0], [9, 6, 0]])
    annotated = np.array([[1, 4, 20], [5, 9, 0], [9, 0, 2]])
    found = count_precision(predicted, annotated)
    assert found.of_class == pytest.approx([10 / 12, 6 / 12, 1])
    assert found.boxes.tolist() == [12, 12, 20]


def test_precision_of_few_boxes_tells_nothing():
    found = count_precision(np.array([[9, 10]]), np.array([[9, 0]]))
    assert np.isnan(found.of_class[0])
    assert found.of_class[1] == 0
    assert np.isnan(count_precision(np.zeros((0, 2), int), np.zeros((0, 2), int)).of_class).all()
