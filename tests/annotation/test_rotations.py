from math import pi, radians

import numpy as np
import pytest

from ssal3d.annotation.rotations import from_euler, from_quaternion, front_to_x, front_to_y, quaternion, wrapped
from ssal3d.errors import UserError
from ssal3d.ops.box_geometry import corners_3d

VECTOR = (10.1234, 2.5678, -1.2345, 4.1, 1.7, 1.5, 2.9)


def test_the_worked_quaternion():
    assert np.allclose(quaternion(2.9), (0, 0, 0.9927130, 0.1205028), atol=1e-7)


@pytest.mark.parametrize('yaw', [0, 2.9, 3.1415, -3.1415, -pi / 2, pi / 2, -pi])
def test_quaternions_give_the_yaw_back_with_either_sign(yaw):
    x, y, z, w = quaternion(yaw)
    assert from_quaternion(x, y, z, w) == (pytest.approx(yaw), 0)
    back, tilt = from_quaternion(-x, -y, -z, -w)
    assert wrapped(back - yaw) == pytest.approx(0, abs=1e-12)
    assert tilt == 0


def test_a_heading_along_y_has_the_worked_yaw_and_the_same_corners():
    other = front_to_y(VECTOR)
    assert other[3:] == (1.7, 4.1, 1.5, pytest.approx(1.329204, abs=1e-6))
    assert front_to_x(other) == pytest.approx(VECTOR)
    first, second = (np.sort(corners_3d(np.array([box]))[0], axis=0) for box in (VECTOR, other))
    assert np.allclose(first, second)


def test_the_worked_corners():
    corners = corners_3d(np.array([VECTOR]))[0]
    assert np.allclose(corners[0], (7.9296, 2.2329, -1.9845), atol=1e-4)  # front left bottom
    assert np.allclose(corners[3], (8.3363, 3.8836, -1.9845), atol=1e-4)  # front right bottom


def test_a_lean_is_told_and_the_yaw_stays_that_of_the_x_axis():
    for order in ('XYZ', 'ZYX'):
        yaw, tilt = from_euler(radians(3), radians(-2), 0.4, order)
        assert yaw == pytest.approx(0.4, abs=0.003)
        assert tilt == pytest.approx(radians(3.605), abs=1e-3)  # of 3 and 2 degrees about two axes
    yaw, tilt = from_quaternion(0, np.sin(radians(10)), 0, np.cos(radians(10)))  # pitch of 20 degrees
    assert (yaw, tilt) == (pytest.approx(0), pytest.approx(radians(20)))


def test_half_turns_about_two_axes_are_a_half_turn_about_the_third():
    yaw, tilt = from_euler(pi, pi, 0.3)
    assert wrapped(yaw - (0.3 - pi)) == pytest.approx(0, abs=1e-9)
    assert tilt == pytest.approx(0, abs=1e-9)
    assert from_euler(pi, 0, 0.3)[1] == pytest.approx(pi)  # upside down


def test_a_quaternion_that_is_none_is_refused():
    with pytest.raises(UserError, match='norm 2'):
        from_quaternion(0, 0, 2, 0)


def test_angles_are_wrapped_into_the_half_open_range():
    assert wrapped(pi) == -pi
    assert wrapped(4.67) == pytest.approx(4.67 - 2 * pi)
    assert -pi <= wrapped(-1e-17 - pi) < pi
