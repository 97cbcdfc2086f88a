"""Pedestrians, sitting persons, bicycles and cyclists, with limbs, in several poses and clothes.

A prototype stands in a box of 1 x 1 x 1 m and looks along x; scaling it gives the size of the object.
"""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from ssal3d.simulation.materials import Material
from ssal3d.simulation.mesh import Mesh, ball, box, limb, loft, merge, normalised, of_material, tube

CLOTHES = (Material.CLOTH_LIGHT, Material.CLOTH_DARK)
GAITS = (0.0, 0.12, 0.35, 0.6)  # swing of the legs in radians: standing, strolling, walking, striding
EXTRAS = ('none', 'coat', 'bag')

_HIP, _SHOULDER, _HEAD = 0.92, 1.43, 1.64  # heights in metres of a person of 1.76 m
_THIGH, _SHIN, _UPPER_ARM, _FOREARM = 0.43, 0.44, 0.29, 0.27  # m


@cache
def pedestrian(gait: float, extra: str, top: Material, trousers: Material) -> Mesh:
    """Return the prototype of an upright person.

    Args:
        gait: Swing of the legs in radians, one of `GAITS`.
        extra: One of `EXTRAS`.
        top: Material of the upper body.
        trousers: Material of the legs.
    """
    parts = [_torso((0, 0, _HIP), (0.02, 0, _SHOULDER), top), _head((0.03, 0, _HEAD))]
    for side in (-1, 1):
        swing = side * gait
        parts.append(_leg((0, side * 0.1, _HIP), swing, bend=0.15 + gait * 0.6 * (side < 0), material=trousers))
        parts.append(_arm((0.02, side * 0.23, _SHOULDER - 0.03), -0.8 * swing, top))
    if extra == 'coat':
        parts.append(_rings([(0.0, 0.45), (0.0, 0.9)], [(0.2, 0.22), (0.13, 0.18)], top))
    elif extra == 'bag':
        parts.append(box((-0.19, 0, 1.22), (0.16, 0.3, 0.42), Material.CLOTH_DARK))
    return normalised(merge(parts))


@cache
def sitting_person(top: Material) -> Mesh:
    """Return the prototype of a person on a seat."""
    parts = [_torso((-0.2, 0, 0.45), (-0.14, 0, 0.97), top), _head((-0.1, 0, 1.17))]
    for side in (-0.11, 0.11):
        parts.append(limb([(-0.2, side, 0.5), (0.25, side, 0.52), (0.28, side, 0.06)], (0.085, 0.06), top))
        parts.append(box((0.34, side, 0.04), (0.26, 0.1, 0.08), Material.RUBBER))
        parts.append(limb([(-0.14, side * 2, 0.93), (-0.08, side * 2.2, 0.68), (0.15, side, 0.62)], (0.05, 0.04), top))
    return normalised(merge(parts))


@cache
def bicycle() -> Mesh:
    """Return the prototype of a bicycle without rider."""
    return normalised(_bicycle())


@cache
def cyclist(pedal: float, upright: bool, top: Material) -> Mesh:
    """Return the prototype of a rider on a bicycle.

    Args:
        pedal: Angle of the pedals in radians.
        upright: Upright on a city bicycle, or bent over.
        top: Material of the upper body.
    """
    lean = 0.12 if upright else 0.32  # m that the shoulders are before the hip
    shoulder = 1.5 if upright else 1.38  # m
    hip = (-0.18, 0.0, 0.98)
    parts = [
        _bicycle(),
        _torso(hip, (hip[0] + lean, 0, shoulder), top),
        _head((hip[0] + lean + 0.08, 0, shoulder + 0.2)),
    ]
    for side in (-1, 1):
        foot = np.array([0.03 + 0.17 * side * np.cos(pedal), side * 0.11, 0.3 + 0.17 * side * np.sin(pedal)])
        knee = (np.array([hip[0], side * 0.11, hip[2]]) + foot) / 2 + (0.22, 0, 0.08)
        parts.append(limb([(hip[0], side * 0.1, hip[2]), knee, foot], (0.085, 0.06), Material.CLOTH_DARK))
        parts.append(box(foot + np.array([0.06, 0, 0]), (0.26, 0.09, 0.08), Material.RUBBER))
        elbow = (hip[0] + lean + 0.13, side * 0.27, (shoulder + 1.05) / 2)
        joints = [(hip[0] + lean, side * 0.21, shoulder - 0.03), elbow, (0.42, side * 0.25, 1.05)]
        parts.append(limb(joints, (0.05, 0.04), top))
    return normalised(merge(parts))


def _bicycle() -> Mesh:
    metal = Material.METAL
    rear, front, pedals, saddle, head = (
        (-0.53, 0, 0.34),
        (0.55, 0, 0.34),
        (0.02, 0, 0.3),
        (-0.2, 0, 0.9),
        (0.4, 0, 0.88),
    )
    tubes = [(rear, pedals), (rear, saddle), (pedals, saddle), (pedals, head), (saddle, head), (head, front)]
    parts = [tube(start, end, 0.03, metal, sides=4) for start, end in tubes]
    parts.append(tube((0.4, -0.28, 1.02), (0.4, 0.28, 1.02), 0.02, metal, sides=4))  # handlebar
    parts.append(tube(head, (0.38, 0, 1.02), 0.02, metal, sides=4))
    parts.append(box((-0.22, 0, 0.94), (0.25, 0.14, 0.06), Material.RUBBER))
    return merge([*parts, _wheel(rear), _wheel(front)])


def _wheel(centre: ArrayLike, radius: float = 0.34, sides: int = 12) -> Mesh:
    """Return a tyre: a flat ring seen from the side and a band seen from the front, open between the spokes."""
    angle = np.arange(sides) * 2 * np.pi / sides
    circle = np.stack((np.cos(angle), np.zeros(sides), np.sin(angle)), axis=1)
    rings = np.concatenate(
        (circle * radius, circle * (radius - 0.11), circle * radius + (0, 0.03, 0), circle * radius - (0, 0.03, 0))
    )
    index, following = np.arange(sides), np.roll(np.arange(sides), -1)
    faces = [
        np.stack((index + a, following + a, following + b, index + a, following + b, index + b), axis=1).reshape(-1, 3)
        for a, b in ((0, sides), (2 * sides, 3 * sides))
    ]
    return of_material(rings + np.asarray(centre), np.concatenate(faces), Material.RUBBER)


def _torso(bottom: ArrayLike, top: ArrayLike, material: Material) -> Mesh:
    start, end = np.asarray(bottom, dtype=float), np.asarray(top, dtype=float)
    shares = np.array([-0.08, 0.25, 0.6, 0.92, 1.1])
    centres = start + shares[:, None] * (end - start)
    halves = np.array([(0.11, 0.16), (0.11, 0.15), (0.13, 0.18), (0.11, 0.2), (0.05, 0.06)])  # m: depth, width
    return _outlines(centres, halves, material)


def _rings(centres: list[tuple[float, float]], halves: list[tuple[float, float]], material: Material) -> Mesh:
    return _outlines(np.array([(x, 0.0, z) for x, z in centres]), np.array(halves), material)


def _outlines(centres: np.ndarray, halves: np.ndarray, material: Material, sides: int = 8) -> Mesh:
    angle = np.arange(sides) * 2 * np.pi / sides
    circle = np.stack((np.cos(angle), np.sin(angle), np.zeros(sides)), axis=1)
    radii = np.column_stack((halves, np.zeros(len(halves))))
    sections = centres[:, None] + circle[None] * radii[:, None]
    return loft(sections, np.full((len(centres) - 1, sides), material))


def _head(centre: ArrayLike) -> Mesh:
    return ball(centre, (0.1, 0.08, 0.125), Material.SKIN)


def _leg(hip: tuple[float, float, float], swing: float, bend: float, material: Material) -> Mesh:
    knee = np.array(hip) + _THIGH * np.array([np.sin(swing + bend / 2), 0, -np.cos(swing + bend / 2)])
    foot = knee + _SHIN * np.array([np.sin(swing - bend / 2), 0, -np.cos(swing - bend / 2)])
    shoe = box(foot + np.array([0.06, 0, -0.01]), (0.27, 0.1, 0.08), Material.RUBBER)
    return merge([limb([hip, knee, foot], (0.085, 0.06), material), shoe])


def _arm(shoulder: tuple[float, float, float], swing: float, material: Material) -> Mesh:
    elbow = np.array(shoulder) + _UPPER_ARM * np.array([np.sin(swing), 0, -np.cos(swing)])
    hand = elbow + _FOREARM * np.array([np.sin(swing + 0.4), 0, -np.cos(swing + 0.4)])
    return merge([limb([shoulder, elbow, hand], (0.05, 0.04), material), ball(hand, (0.05, 0.04, 0.06), Material.SKIN)])
