"""Headings as tools write them: quaternions, Euler angles, and boxes whose front is their local y axis."""

from collections.abc import Sequence
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import UserError

Array = NDArray[np.float64]

# For Euler angles "XYZ" (three.js, CVAT, Xtreme1, SUSTechPOINTS) the matrix is X Y Z, for "ZYX" (OpenLABEL) Z Y X.
ORDERS = ('XYZ', 'ZYX')


def wrapped(angle: float) -> float:
    """Return an angle in [-pi, pi); one that is there already keeps every bit."""
    if -pi <= angle < pi:
        return angle
    turned = (angle + pi) % (2 * pi) - pi
    return -pi if turned >= pi else turned  # the modulo of a tiny negative number rounds up to 2 pi


def quaternion(yaw: float) -> tuple[float, float, float, float]:
    """Return the quaternion (x, y, z, w) of a rotation about +z.

    >>> [round(value, 7) for value in quaternion(2.9)]
    [0.0, 0.0, 0.992713, 0.1205028]
    """
    return 0.0, 0.0, sin(yaw / 2), cos(yaw / 2)


def quaternion_of(rotation: Array) -> tuple[float, float, float, float]:
    """Return the quaternion (x, y, z, w) of a ``(3, 3)`` rotation, with w >= 0."""
    # Of the four equivalent formulas the one with the largest divisor is exact for every rotation.
    m = rotation
    trace = np.array(
        [m[0, 0] - m[1, 1] - m[2, 2], m[1, 1] - m[0, 0] - m[2, 2], m[2, 2] - m[0, 0] - m[1, 1], np.trace(m)]
    )
    largest = int(np.argmax(trace))
    products = np.array(
        [
            [1 + trace[0], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[0, 1] + m[1, 0], 1 + trace[1], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 1 + trace[2], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1 + trace[3]],
        ]
    )
    found = products[largest] / np.linalg.norm(products[largest])
    x, y, z, w = (found if found[3] >= 0 else -found).tolist()
    return x, y, z, w


def rotation_of(x: float, y: float, z: float, w: float) -> Array:
    """Return the ``(3, 3)`` rotation of a quaternion.

    Raises:
        UserError: If its norm is not 1.
    """
    norm = float(np.sqrt(x * x + y * y + z * z + w * w))
    if not abs(norm - 1) < 1e-2:
        raise UserError(f'found the quaternion ({x:g}, {y:g}, {z:g}, {w:g}) with norm {norm:g}, expected norm 1')
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def upright(rotation: Array) -> tuple[float, float]:
    """Return the yaw of a ``(3, 3)`` rotation and by how much it leans, in rad.

    The yaw is the direction of the box's x axis on the ground, the lean the angle of its z axis to the vertical.
    """
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
    lean = np.arctan2(np.hypot(rotation[0, 2], rotation[1, 2]), rotation[2, 2])
    return wrapped(float(yaw)), float(lean)


def from_quaternion(x: float, y: float, z: float, w: float) -> tuple[float, float]:
    """Return yaw and lean of a quaternion; see `upright`.

    Raises:
        UserError: If its norm is not 1.
    """
    rotation = rotation_of(x, y, z, w)
    return (wrapped(2 * float(np.arctan2(z, w))), 0.0) if x == 0 and y == 0 else upright(rotation)


def from_euler(x: float, y: float, z: float, order: str = 'XYZ') -> tuple[float, float]:
    """Return yaw and lean of Euler angles in rad; see `upright` and `ORDERS`."""
    if x == 0 and y == 0:
        return wrapped(z), 0.0
    about = {
        'X': np.array([[1, 0, 0], [0, cos(x), -sin(x)], [0, sin(x), cos(x)]]),
        'Y': np.array([[cos(y), 0, sin(y)], [0, 1, 0], [-sin(y), 0, cos(y)]]),
        'Z': np.array([[cos(z), -sin(z), 0], [sin(z), cos(z), 0], [0, 0, 1]]),
    }
    first, second, third = (about[axis] for axis in order)
    return upright(first @ second @ third)


def front_to_x(box: Sequence[float]) -> tuple[float, ...]:
    """Return a box whose front is its local +y axis (width, length, height) as one whose front is +x.

    >>> [round(value, 4) for value in front_to_x((0, 0, 0, 1.7, 4.1, 1.5, 1.329204))]
    [0, 0, 0, 4.1, 1.7, 1.5, 2.9]
    """
    x, y, z, width, length, height, yaw = box
    return x, y, z, length, width, height, wrapped(yaw + pi / 2)


def front_to_y(box: Sequence[float]) -> tuple[float, ...]:
    """Return a box whose front is its local +x axis as one whose front is +y; the inverse of `front_to_x`."""
    x, y, z, length, width, height, yaw = box
    return x, y, z, width, length, height, wrapped(yaw - pi / 2)
