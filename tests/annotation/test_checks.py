from math import radians

import numpy as np
import pytest

from ssal3d.annotation import Cuboid, LabelFrame
from ssal3d.annotation.checks import check_frame, odd_sizes
from ssal3d.annotation.quality import as_json, suspicions

CLASSES = ('Car', 'Pedestrian')
BOX = (10.0, 0.0, -1.0, 4.0, 1.8, 1.5, 0.3)


def kinds(*cuboids, points=None):
    return [(finding.kind, finding.is_error) for finding in check_frame(LabelFrame('7', cuboids), CLASSES, points)]


@pytest.mark.parametrize(
    ('cuboid', 'kind'),
    [
        (Cuboid('Truck', BOX), 'class'),
        (Cuboid('Car', (*BOX[:3], 0.0, 1.8, 1.5, 0.3)), 'size'),
        (Cuboid('Car', (*BOX[:3], 400.0, 180.0, 150.0, 0.3)), 'size'),  # centimetres
        (Cuboid('Car', (*BOX[:4], -1.8, 1.5, 0.3)), 'size'),
        (Cuboid('Car', (301.0, *BOX[1:])), 'range'),
        (Cuboid('Car', BOX, tilt=radians(5.1)), 'tilt'),
    ],
)
def test_boxes_that_cannot_be_right(cuboid, kind):
    assert kinds(cuboid) == [(kind, True)]


def test_right_boxes_are_not_complained_about():
    neighbour = Cuboid('Car', (10.0, 1.9, *BOX[2:]))
    rider = Cuboid('Pedestrian', (10.0, 0.0, -0.6, 0.8, 0.6, 1.7, 0.3), tilt=radians(4.9))  # in the open car
    assert kinds(Cuboid('Car', BOX), neighbour, rider) == []


def test_one_object_twice():
    again = Cuboid('Car', (10.05, 0.02, -1.0, 4.0, 1.8, 1.5, 0.3), where='a.json, line 9')
    (finding,) = check_frame(LabelFrame('7', (Cuboid('Car', BOX, where='a.json, line 3'), again)), CLASSES)
    assert (finding.kind, finding.is_error) == ('duplicate', True)
    assert finding.text.startswith("a.json, line 9: box 'Car' is the same object as a.json, line 3: box 'Car'")
    other = Cuboid('Pedestrian', again.box)
    assert kinds(Cuboid('Car', BOX), other) == []


def test_boxes_without_points_are_a_warning():
    points = np.array([[10.0, 0, -1], [30, 0, 0]], dtype=np.float32)
    far = Cuboid('Car', (50.0, *BOX[1:]))
    assert kinds(Cuboid('Car', BOX), far, points=points) == [('points', False)]


def test_sizes_far_from_those_of_the_class():
    rng = np.random.default_rng(0)
    cars = [
        Cuboid('Car', (9.0 * k, 0, 0, *(np.array([4, 1.8, 1.5]) * rng.uniform(0.9, 1.1, 3)), 0.0)) for k in range(20)
    ]
    bus = Cuboid('Car', (0, 50, 0, 12.0, 2.5, 3.2, 0), where='b.json, line 4')
    rare = Cuboid('Pedestrian', (0, 60, 0, 9.0, 9.0, 9.0, 0))  # one of its class: nothing to compare with
    found = odd_sizes([LabelFrame('a', tuple(cars)), LabelFrame('b', (bus, rare))])
    assert list(found) == ['b']
    (finding,) = found['b']
    assert finding.text.startswith(
        "b.json, line 4: box 'Car' measures 12.00 x 2.50 x 3.20 m, usual for the class is 4.0"
    )


def seen(x, label='Car', score=0.9):
    return Cuboid(label, (x, 0.0, -1.0, 4.0, 1.8, 1.5, 0.3), score=score)


def test_what_both_models_see_against_what_was_drawn():
    frame = LabelFrame('7', (Cuboid('Car', BOX), Cuboid('Car', (30.0, *BOX[1:])), Cuboid('Car', (50.0, *BOX[1:]))))
    found = suspicions(
        [frame], CLASSES, seen={'7': [seen(10.1), seen(31.5), seen(50.0, 'Pedestrian'), seen(80.0, score=0.7)]}
    )
    assert [(entry.kind, entry.box[0]) for entry in found] == [('class', 50.0), ('missed', 80.0), ('displaced', 30.0)]
    assert found[1].suspicion == pytest.approx(0.7)
    assert 0 < found[2].suspicion < 0.9
    rows = as_json(found)
    assert [row['rank'] for row in rows] == [0, 1, 2]
    assert rows[1]['text'] == "frame 7: no box where both models see a 'Car' at (80.0, 0.0), score 0.70"


def test_a_second_prediction_of_a_labelled_object_is_no_missed_one():
    frame = LabelFrame('7', (Cuboid('Car', BOX),))
    assert suspicions([frame], CLASSES, seen={'7': [seen(10.0), seen(10.4)]}) == []
