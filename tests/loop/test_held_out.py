"""Pseudo labels against what the annotator would have said."""

import numpy as np

from ssal3d.loop.held_out import compare_boxes

CLASSES = ('Pedestrian', 'Cyclist', 'Car')


def car(x, y=0.0):
    return [x, y, -1, 4.0, 2.0, 1.5, 0.0]


def frame(boxes, labels):
    return np.array(boxes, np.float32).reshape(-1, 7), np.array(labels, np.int64)


def test_number_right_and_covered():
    truth = {'a': frame([car(10), car(20), car(30, 5)], [2, 2, 1]), 'b': frame([car(10)], [2]), 'c': frame([], [])}
    found = {
        'a': frame([car(10.5), car(40), car(30, 5)], [2, 2, 2]),  # IoU 3.5 / 4.5; nothing there; another class
        'c': frame([car(10)], [2]),
        'labelled': frame([car(10)], [2]),  # not measured
    }
    assert compare_boxes(found, truth, CLASSES) == {
        'Pedestrian': {'number': 0, 'right': None, 'covered': None},
        'Cyclist': {'number': 0, 'right': None, 'covered': 0.0},
        'Car': {'number': 4, 'right': 25.0, 'covered': 100 / 3},
    }


def test_an_overlap_of_one_half_is_not_enough():
    truth = {'a': frame([car(10)], [2])}
    near, far = 4 / 3, 1.3  # m: IoU 0.5 and a little more
    assert compare_boxes({'a': frame([car(10 + near + 1e-3)], [2])}, truth, CLASSES)['Car']['right'] == 0
    assert compare_boxes({'a': frame([car(10 + far)], [2])}, truth, CLASSES)['Car']['right'] == 100
