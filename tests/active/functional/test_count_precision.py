import numpy as np
import pytest

from ssal3d.active.functional.count_precision import count_precision


def test_by_frame_and_class():
    predicted = np.array([[3, 0, 20], [0, 6, 0], [9, 6, 0]])
    annotated = np.array([[1, 4, 20], [5, 9, 0], [9, 0, 2]])
    found = count_precision(predicted, annotated)
    assert found.of_class == pytest.approx([10 / 12, 6 / 12, 1])
    assert found.boxes.tolist() == [12, 12, 20]


def test_few_boxes_tell_nothing():
    found = count_precision(np.array([[9, 10]]), np.array([[9, 0]]))
    assert np.isnan(found.of_class[0])
    assert found.of_class[1] == 0
    assert np.isnan(count_precision(np.zeros((0, 2), int), np.zeros((0, 2), int)).of_class).all()
