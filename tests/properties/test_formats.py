"""Annotation formats: what a tool would show is what was exported, within the precision that each format states."""

import tempfile
from math import pi
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssal3d.annotation import Cuboid, LabelFrame, build_format
from ssal3d.annotation.format import Batch
from ssal3d.annotation.rotations import from_euler, from_quaternion, front_to_x, front_to_y, quaternion, wrapped
from tests.annotation.test_formats import READABLE
from tests.properties.strategies import YAWS, box_rows

CLASSES = ('Car', 'Pedestrian', 'park bench')
CUBOIDS = st.lists(st.tuples(st.sampled_from(CLASSES), box_rows(70.0)), min_size=1, max_size=6)


@settings(max_examples=12)
@pytest.mark.parametrize('tool', READABLE)
@given(drawn=CUBOIDS)
def test_boxes_come_back_within_the_precision_of_the_format(tool, drawn):
    form = build_format(tool)
    cuboids = tuple(Cuboid(form.spelled(name), box, str(k), score=0.5) for k, (name, box) in enumerate(drawn, 1))
    with tempfile.TemporaryDirectory() as folder:
        scan, out = Path(folder) / '7.bin', Path(folder) / 'out'
        np.ones((5, 4), '<f4').tofile(scan)
        out.mkdir()
        form.export([LabelFrame('7', cuboids, scan=scan)], out, Batch(CLASSES))
        reading = build_format(tool).read(out)
    assert not reading.problems
    (frame,) = reading.frames
    found = sorted(frame.cuboids, key=lambda cuboid: int(cuboid.id or 0))
    assert [cuboid.class_name for cuboid in found] == [cuboid.class_name for cuboid in cuboids]
    difference = np.array([cuboid.box for cuboid in found]) - np.array([cuboid.box for cuboid in cuboids])
    assert np.abs(difference[:, :6]).max() <= form.tolerance.metres
    assert max(abs(wrapped(turn)) for turn in difference[:, 6]) <= form.tolerance.radians
    assert all(-pi <= cuboid.box[6] < pi for cuboid in found)


@given(angle=st.floats(-1e4, 1e4))
def test_a_wrapped_angle_points_the_same_way(angle):
    found = wrapped(angle)
    assert -pi <= found < pi
    assert np.cos(found) == pytest.approx(np.cos(angle), abs=1e-9)
    assert np.sin(found) == pytest.approx(np.sin(angle), abs=1e-9)
    assert wrapped(found) == found


@given(yaw=YAWS)
def test_headings_come_back_from_quaternions_and_euler_angles(yaw):
    turned, lean = from_quaternion(*quaternion(yaw))
    assert abs(wrapped(turned - yaw)) < 1e-9
    assert lean == pytest.approx(0, abs=1e-6)
    assert from_euler(0, 0, yaw) == (yaw, 0.0)


@given(box=box_rows(70.0))
def test_a_box_whose_front_is_renamed_twice_is_the_same(box):
    found = front_to_x(front_to_y(box))
    assert found[:6] == box[:6]
    assert abs(wrapped(found[6] - box[6])) < 1e-9
