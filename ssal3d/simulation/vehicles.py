"""Cars, vans and trucks: bodies lofted from side profiles, with windows, seats and wheels.

A prototype stands in a box of 1 x 1 x 1 m with its nose along x; scaling it gives the size of the object.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ssal3d.simulation.materials import Material
from ssal3d.simulation.mesh import Mesh, box, loft, merge, normalised, tube

PAINTS = (Material.PAINT_LIGHT, Material.PAINT_MIDDLE, Material.PAINT_DARK)

# Stations from nose to tail: (position along the length, height of the belt line, height of the top), shares of the
# length and height. Where the top is at the belt there is no cabin; short stations inside the cabin are pillars.
_PROFILES = {
    'hatchback': (
        *((0.500, 0.42, 0.42), (0.470, 0.52, 0.52), (0.270, 0.60, 0.60), (0.090, 0.63, 0.95), (-0.010, 0.64, 1.00)),
        *((-0.040, 0.64, 1.00), (-0.260, 0.65, 0.98), (-0.370, 0.66, 0.93), (-0.470, 0.66, 0.66), (-0.500, 0.45, 0.45)),
    ),
    'sedan': (
        *((0.500, 0.42, 0.42), (0.470, 0.53, 0.53), (0.230, 0.62, 0.62), (0.070, 0.65, 0.96), (-0.020, 0.65, 1.00)),
        *((-0.050, 0.65, 1.00), (-0.190, 0.66, 0.97), (-0.340, 0.67, 0.69), (-0.480, 0.65, 0.67), (-0.500, 0.45, 0.45)),
    ),
    'estate': (
        *((0.500, 0.42, 0.42), (0.470, 0.52, 0.52), (0.240, 0.60, 0.60), (0.090, 0.63, 0.95), (0.000, 0.64, 1.00)),
        *((-0.030, 0.64, 1.00), (-0.250, 0.65, 1.00), (-0.430, 0.66, 0.95), (-0.485, 0.66, 0.66), (-0.500, 0.42, 0.42)),
    ),
    'suv': (
        *((0.500, 0.45, 0.45), (0.480, 0.58, 0.58), (0.260, 0.63, 0.63), (0.130, 0.65, 0.95), (0.010, 0.66, 1.00)),
        *((-0.020, 0.66, 1.00), (-0.250, 0.67, 1.00), (-0.420, 0.67, 0.95), (-0.480, 0.67, 0.67), (-0.500, 0.45, 0.45)),
    ),
}
_VAN_PROFILE = (
    *((0.500, 0.35, 0.35), (0.480, 0.45, 0.45), (0.370, 0.52, 0.52), (0.250, 0.56, 0.93), (0.190, 0.56, 0.98)),
    *((0.170, 0.56, 0.98), (0.000, 0.56, 1.00), (-0.250, 0.56, 1.00), (-0.470, 0.56, 0.98), (-0.500, 0.30, 0.30)),
)


@cache
def car(body: str, paint: Material) -> Mesh:
    """Return the prototype of a passenger car."""
    length, width, height = 4.2, 1.75, 1.5  # m; only the proportions matter
    shell = _shell(_PROFILES[body], length, width, height, paint, windows=True)
    seats = [
        box((0.02 * length, side, 0.5 * height), (0.12 * length, 0.3 * width, 0.5 * height), Material.INTERIOR)
        for side in (-0.22 * width, 0.22 * width)
    ]
    bench = box((-0.2 * length, 0, 0.48 * height), (0.1 * length, 0.75 * width, 0.44 * height), Material.INTERIOR)
    plates = [
        box((end * 0.5 * length, 0, 0.3 * height), (0.02, 0.5, 0.12), Material.REFLECTOR) for end in (-0.998, 0.998)
    ]
    return normalised(merge([shell, *seats, bench, *plates, *_wheels(0.3 * length, width, 0.31)]))


@cache
def van(panel: bool, paint: Material) -> Mesh:
    """Return the prototype of a delivery van (panel) or a minibus."""
    length, width, height = 5.1, 1.95, 2.2  # m
    shell = _shell(_VAN_PROFILE, length, width, height, paint, windows=not panel, taper=0.92)
    plates = [box((end * 0.5 * length, 0, 0.25 * height), (0.02, 0.5, 0.12), Material.REFLECTOR) for end in (-1, 1)]
    return normalised(merge([shell, *plates, *_wheels(0.32 * length, width, 0.34)]))


@cache
def truck(paint: Material) -> Mesh:
    """Return the prototype of a lorry: cab, load, gap between them."""
    cab = box((3.9, 0, 1.7), (2.0, 2.4, 2.6), paint)
    windscreen = box((4.905, 0, 2.2), (0.02, 2.1, 0.9), Material.GLASS)
    load = box((-1.1, 0, 2.2), (7.6, 2.55, 2.5), Material.PAINT_LIGHT)
    chassis = box((0.0, 0, 0.75), (9.4, 0.9, 0.3), Material.RUBBER)
    wheels = [wheel for middle in (3.6, -2.2, -3.6) for wheel in _axle(middle, 2.45, 0.5)]
    return normalised(merge([cab, windscreen, load, chassis, *wheels]))


def car_body(length: float, height: float) -> tuple[str, ...]:
    """Return the body types that come in such a size (metres)."""
    if height > 1.62:
        return ('suv',) if length > 3.9 else ('suv', 'hatchback')
    if length < 3.75:
        return ('hatchback',)
    return ('sedan', 'estate', 'hatchback') if length < 4.1 else ('sedan', 'estate')


def _shell(
    profile: tuple[tuple[float, float, float], ...],
    length: float,
    width: float,
    height: float,
    paint: Material,
    *,
    windows: bool,
    taper: float = 0.86,
) -> Mesh:
    along, belt, top = np.array(profile).T
    cabin = top > belt + 0.1
    half = width / 2 * np.where(np.abs(along) > 0.49, taper, np.where(np.abs(along) > 0.4, (1 + taper) / 2, 1.0))
    shoulder = np.where(cabin, 0.76 if taper < 0.9 else 0.88, 0.85)
    outline = np.stack(  # one side from the sill to the edge of the roof: (S, 4, 2) of y, z
        (
            np.column_stack((half * 0.93, np.full_like(half, 0.14))),
            np.column_stack((half, np.full_like(half, 0.38))),
            np.column_stack((half * 0.97, belt)),
            np.column_stack((half * shoulder, np.maximum(top, belt + 0.005))),
        ),
        axis=1,
    )
    other = outline[:, ::-1] * (-1, 1)
    sides = np.concatenate((outline, other), axis=1)
    stations = np.broadcast_to(along[:, None, None] * length, (*sides.shape[:2], 1))
    sections = np.concatenate((stations, sides * (1, height)), axis=-1)
    return loft(sections, _colours(along, cabin, paint, windows))


def _colours(along: NDArray, cabin: NDArray[np.bool_], paint: Material, windows: bool) -> NDArray:
    """Return ``(S - 1, 8)`` materials: sill, door, window, roof, window, door, sill, underbody."""
    rows = len(along) - 1
    colours = np.full((rows, 8), paint, dtype=np.uint8)
    colours[:, 7] = Material.RUBBER
    inside, slope = cabin[:-1] & cabin[1:], cabin[:-1] != cabin[1:]
    pillar = np.abs(np.diff(along)) < 0.035
    sides = np.array([2, 4])
    colours[slope, 3] = Material.GLASS  # windscreen and rear window
    if windows:
        colours[np.ix_(inside & ~pillar, sides)] = Material.GLASS
    else:
        colours[np.ix_(inside & (along[:-1] > 0.15) & ~pillar, sides)] = Material.GLASS
        colours[slope & (along[:-1] < 0), 3] = paint
    return colours


def _wheels(base: float, width: float, radius: float) -> list[Mesh]:
    return [wheel for middle in (base, -base) for wheel in _axle(middle, width, radius)]


def _axle(middle: float, width: float, radius: float) -> list[Mesh]:
    outer, inner = width / 2 - 0.01, width / 2 - 0.2  # m
    return [
        tube((middle, side * inner, radius), (middle, side * outer, radius), radius, Material.RUBBER, sides=10)
        for side in (-1, 1)
    ]
