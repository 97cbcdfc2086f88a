from dataclasses import replace
from math import pi, radians

import numpy as np
import pytest

from ssal3d.annotation import Cuboid, Tolerance
from ssal3d.annotation.comparison import compare, cost
from ssal3d.annotation.rotations import wrapped

CARS = tuple(Cuboid('Car', (10.0 * k, 0.0, -1.0, 4.0, 1.8, 1.5, 3.1), str(k + 1)) for k in range(4))
TIGHT = Tolerance()


def shifted(cuboid, **changes):
    names = ('x', 'y', 'z', 'dx', 'dy', 'dz', 'yaw')
    box = [value + changes.get(name, 0) for name, value in zip(names, cuboid.box)]
    return replace(cuboid, box=(*box[:6], wrapped(box[6])))


def test_every_kind_of_change_is_told_apart():
    returned = [
        shifted(CARS[0], x=0.2, yaw=0.3),
        replace(shifted(CARS[1], dx=-0.5), class_name='Van'),
        CARS[3],
        Cuboid('Car', (50.0, 9.0, -1.0, 4.0, 1.8, 1.5, 0.0)),
    ]
    found = compare(CARS, returned, TIGHT)
    assert found.partners == (0, 1, 3, -1)
    assert found.changes == (
        frozenset({'moved', 'turned'}),
        frozenset({'resized', 'relabelled'}),
        frozenset(),
        frozenset(),
    )
    assert found.deleted == (2,)
    assert cost([found, found]) == {
        'accepted': 2, 'edited': 4, 'deleted': 2, 'added': 2, 'moved': 2, 'turned': 2, 'resized': 2, 'relabelled': 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ('changes', 'tolerance', 'edited'),
    [
        ({'x': 0.0009}, TIGHT, False),
        ({'x': 0.0011}, TIGHT, True),
        ({'yaw': radians(0.09)}, TIGHT, False),
        ({'yaw': radians(0.11)}, TIGHT, True),
        ({'z': 0.005, 'dx': -0.005, 'yaw': radians(0.29)}, Tolerance(6e-3, radians(0.3)), False),
        ({'yaw': 2 * pi}, TIGHT, False),
        ({'yaw': pi}, TIGHT, True),  # the front is at the other end
    ],
)
def test_only_what_the_tools_rounding_cannot_do_is_an_edit(changes, tolerance, edited):
    counts = compare(CARS[:1], [shifted(CARS[0], **changes)], tolerance).counts
    assert counts['edited'] == int(edited)
    assert counts['accepted'] == int(not edited)


def test_a_turn_over_the_seam_is_small():
    before = Cuboid('Car', (0, 0, 0, 4, 2, 1.5, pi - 0.0005), '1')
    after = replace(before, box=(*before.box[:6], -pi + 0.0005))
    assert compare([before], [after], TIGHT).counts['accepted'] == 1


def test_tools_without_ids_are_matched_by_overlap_the_largest_first():
    near = replace(shifted(CARS[0], x=0.5), id='')
    nearer = replace(shifted(CARS[0], x=0.1), id='')
    assert compare(CARS[:1], [near, nearer], TIGHT).partners == (-1, 0)


def test_numbers_that_a_tool_gave_anew_are_not_taken_for_ours():
    """Reversed ids: every box would have moved by metres."""
    returned = [replace(cuboid, id=str(4 - k)) for k, cuboid in enumerate(CARS)]
    found = compare(CARS, returned, TIGHT)
    assert found.partners == (0, 1, 2, 3)
    assert found.counts['accepted'] == 4


def test_a_box_that_was_dragged_along_the_road_keeps_its_id():
    found = compare(CARS, [shifted(CARS[0], y=4.5), *CARS[1:]], TIGHT)
    assert (found.counts['moved'], found.counts['deleted']) == (1, 0)


def test_of_copies_with_one_id_the_nearest_is_the_original():
    copies = [shifted(CARS[0], y=3.0), CARS[0], shifted(CARS[0], y=-3.0)]
    found = compare(CARS[:1], copies, TIGHT)
    assert found.partners == (-1, 0, -1)
    assert found.counts['added'] == 2


def test_nothing_and_everything():
    assert compare((), (), TIGHT).counts == {'deleted': 0}
    assert compare(CARS, (), TIGHT).counts['deleted'] == 4
    assert compare((), CARS, TIGHT).counts['added'] == 4


@pytest.mark.parametrize('seed', range(5))
def test_random_edits_are_counted_right(seed):
    rng = np.random.default_rng(seed)
    boxes = [
        Cuboid('Car', (8.0 * (k % 10), 8.0 * (k // 10), -1, 4, 1.8, 1.5, rng.uniform(-3, 3)), str(k)) for k in range(60)
    ]
    fate = rng.integers(0, 4, 60)
    returned = [
        replace(shifted(cuboid, x=0.3 * (kind == 1)), id='' if rng.random() < 0.5 else cuboid.id,
                class_name='Van' if kind == 2 else 'Car')
        for cuboid, kind in zip(boxes, fate) if kind != 3
    ]  # fmt: skip
    order = rng.permutation(len(returned))
    counts = compare(boxes, [returned[k] for k in order], TIGHT).counts
    assert (counts['accepted'], counts['moved'], counts['relabelled'], counts['deleted'], counts['added']) == (
        (fate == 0).sum(), (fate == 1).sum(), (fate == 2).sum(), (fate == 3).sum(), 0,
    )  # fmt: skip
