"""Vehicles of a scene: parked rows, traffic in the lanes, traffic from the side."""

from typing import Any

import numpy as np

from ssal3d.simulation.materials import Material
from ssal3d.simulation.plot import Plot, Thing
from ssal3d.simulation.sizes import draw_size
from ssal3d.simulation.styles import Style
from ssal3d.simulation.vehicles import PAINTS, car, car_body, truck, van

_PAINT_SHARES = (0.45, 0.33, 0.22)  # light, middle, dark
_KINDS = ('Car', 'Van', 'Truck')
_PARKED_SHARES = (0.935, 0.06, 0.005)  # of parked vehicles
_MOVING_SHARES = (0.87, 0.085, 0.045)  # of moving vehicles
_AHEAD = 95.0  # m along the road that are filled, beyond the ego vehicle's way


def vehicle(rng: np.random.Generator, shares: tuple[float, ...], **place: Any) -> Thing:
    """Draw a vehicle at a place, given as for `Thing`."""
    name = str(rng.choice(_KINDS, p=shares))
    size = draw_size(name, rng)
    paint = PAINTS[rng.choice(len(PAINTS), p=_PAINT_SHARES)]
    if name == 'Car':
        bodies = car_body(size[0], size[2])
        mesh = car(bodies[rng.integers(len(bodies))], paint)
    elif name == 'Van':
        mesh = van(bool(rng.random() < 0.6), Material.PAINT_LIGHT if rng.random() < 0.5 else paint)
    else:
        mesh = truck(paint)
    return Thing(mesh, size, name=name, **place)


def park(plot: Plot, style: Style, start: float) -> None:
    """Fill the parking strips on both sides from ``start`` metres on."""
    if style.parking == 0:
        return
    rng, road = plot.rng, plot.road
    for side in (-1, 1):
        across, slant = rng.random() < style.across, rng.choice((0.0, 0.0, -0.5, 0.5))
        share, place = rng.uniform(*style.parked), 2.7 if across else rng.uniform(5.6, 6.6)  # m along the road
        if not across and style.parking > 3:
            continue
        for s in np.arange(start, plot.way + _AHEAD, place):
            if rng.random() > share:
                continue
            turn = side * np.pi / 2 if across else np.pi * (side > 0) * (rng.random() < 0.7)
            turn += across * (np.pi * (rng.random() < 0.3) + slant) + rng.normal(0, 0.04)
            d = side * (road.half_width + (2.5 if across else style.parking / 2) + rng.normal(0, 0.1))
            plot.add(vehicle(rng, _PARKED_SHARES, s=s + rng.normal(0, 0.25), d=d, turn=turn), gap=0.15)


def drive(plot: Plot, style: Style, ego_s: float, ego_speed: float) -> None:
    """Put vehicles into the lanes: with the ego vehicle on the right, against it on the left."""
    rng = plot.rng
    jam = rng.random() < 0.15
    for lane in range(style.lanes):
        middle = style.lane * (lane + 0.5)
        for side in (-1, 1):
            count = rng.poisson(style.traffic * (3 if jam else 1) * rng.gamma(1.5, 1 / 1.5))
            s = ego_s + (rng.uniform(7, 35) if side < 0 else rng.uniform(2, 50))
            pace = ego_speed * rng.uniform(0.8, 1.1) if side < 0 else rng.uniform(*style.speed)
            for _ in range(count):
                turn = np.pi * (side > 0) + rng.normal(0, 0.02)
                place = dict(s=s, d=side * middle + rng.normal(0, 0.2), turn=turn, speed=pace)
                plot.add(vehicle(rng, _MOVING_SHARES, **place), gap=0.8)
                s += rng.uniform(6, 10) + 0.4 * pace + rng.exponential(4 if jam else 14)


def cross(plot: Plot, at: float) -> None:
    """Put vehicles on a street that crosses at ``at`` metres."""
    rng = plot.rng
    skew = rng.uniform(-0.6, 0.6)
    for side in (-1, 1):
        d = side * rng.uniform(1, 9) if rng.random() < 0.4 else side * (plot.road.front + rng.uniform(3, 10))
        for _ in range(rng.poisson(1.0)):
            turn = -np.pi / 2 if rng.random() < 0.5 else np.pi / 2
            s = at + 2.0 * np.sign(turn) - np.tan(skew) * d + rng.normal(0, 0.3)
            turn += skew + rng.normal(0, 0.08)
            speed = rng.uniform(1, 8) if rng.random() < 0.6 else 0.0
            plot.add(vehicle(rng, _MOVING_SHARES, s=s, d=d, turn=turn, speed=speed), gap=0.8)
            d += side * rng.uniform(7, 16)
