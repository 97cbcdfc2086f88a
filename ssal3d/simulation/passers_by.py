"""Pedestrians, sitting persons, cyclists and empty bicycles of a scene."""

from typing import Any

import numpy as np

from ssal3d.simulation.furniture import bench
from ssal3d.simulation.people import CLOTHES, EXTRAS, GAITS, bicycle, cyclist, pedestrian, sitting_person
from ssal3d.simulation.plot import Plot, Thing
from ssal3d.simulation.sizes import draw_size
from ssal3d.simulation.styles import Style

_WAYS = (0.0, np.pi)  # along the road, either way
_TRIES = 3


def walkers(plot: Plot, style: Style, start: float) -> None:
    """Put groups of pedestrians on side walks, on the way across the street and beside it."""
    rng = plot.rng
    for _ in range(rng.poisson(style.pedestrians * rng.gamma(0.35, 1 / 0.35))):
        s = start + float(np.clip(rng.lognormal(np.log(13.5), 0.65), 2.0, 75.0))
        crossing = rng.random() < (0.30 if style.walk[1] else 0.1)
        turn = rng.choice((-1, 1)) * np.pi / 2 if crossing else rng.choice(_WAYS)
        d = _across(plot, style) if crossing else _beside(plot)
        standing = rng.random() < 0.25
        for _ in range(1 + rng.poisson(0.8)):
            for _ in range(_TRIES):
                place = dict(s=s + rng.normal(0, 0.9), d=d + rng.normal(0, 0.6))
                heading = rng.uniform(-np.pi, np.pi) if standing else turn + rng.normal(0, 0.2)
                if plot.add(_walker(rng, standing, turn=heading, **place)):
                    break


def riders(plot: Plot, style: Style, start: float) -> None:
    """Put cyclists at the edges of the lanes, against the traffic too, and on side walks."""
    rng, road = plot.rng, plot.road
    for _ in range(rng.poisson(style.cyclists * rng.gamma(0.8, 1 / 0.8))):
        s = start + float(np.clip(rng.lognormal(np.log(24.0), 0.6), 3.0, 75.0))
        side = rng.choice((-1, 1), p=(0.68, 0.32))
        place = road.half_width + 0.15
        if rng.random() < 0.4:
            place = road.edge + rng.uniform(0.3, 1.3) * max(road.walk, 2.0)
        turn = np.pi * (side > 0) if rng.random() < 0.85 else np.pi * (side < 0)
        if rng.random() < 0.12:
            turn, place = rng.choice((-1, 1)) * np.pi / 2, rng.uniform(0, road.front)
        mesh = cyclist(float(rng.integers(4)) * np.pi / 4, bool(rng.random() < 0.6), _cloth(rng))
        at = dict(s=s, d=side * (place + rng.normal(0, 0.2)), turn=turn + rng.normal(0, 0.1), speed=rng.uniform(2, 6.5))
        plot.add(Thing(mesh, draw_size('Cyclist', rng), name='Cyclist', **at), gap=0.15)


def stands(plot: Plot, style: Style, start: float) -> None:
    """Put empty bicycles against the houses and at the kerb; nobody labels them."""
    rng, road = plot.rng, plot.road
    for _ in range(rng.poisson(style.bicycles)):
        s, side = start + rng.uniform(3, 50), rng.choice((-1, 1))
        parallel, d = rng.random() < 0.5, side * (road.edge + rng.choice((0.5, max(road.walk - 0.5, 0.6))))
        for _ in range(rng.integers(1, 6)):
            turn = rng.choice(_WAYS) if parallel else side * np.pi / 2 + rng.normal(0, 0.1)
            plot.add(Thing(bicycle(), (1.72, 0.55, 1.05), s, d, turn=turn), gap=0.05)
            s += 1.9 if parallel else 0.75


def seats(plot: Plot, style: Style, start: float) -> None:
    """Put benches on the side walk, with people on them."""
    rng, road = plot.rng, plot.road
    if rng.random() >= style.sitting:
        return
    for _ in range(rng.integers(1, 4)):
        s, side = start + rng.uniform(4, 22), rng.choice((-1, 1))
        facing = 0.0 if side < 0 else np.pi  # the bench looks along its y, towards the road
        d = side * (road.edge + 0.7 * max(road.walk, 1.5))
        if not plot.add(Thing(bench(), (1, 1, 1), s, d, turn=facing), gap=0.5):
            continue
        for offset in rng.choice((-0.45, 0.0, 0.45), size=rng.integers(1, 3), replace=False):
            length, width, height = draw_size('Person_sitting', rng)
            mesh = sitting_person(_cloth(rng))
            forward = -side * (length / 2 - 0.25)
            person = Thing(
                mesh, (length, min(width, 0.6), height), s + offset * 1.4, d + forward, name='Person_sitting'
            )
            plot.decorate(Thing(**{**vars(person), 'turn': -side * np.pi / 2}))


def _walker(rng: np.random.Generator, standing: bool, **place: Any) -> Thing:
    size = draw_size('Pedestrian', rng)
    gait = GAITS[0] if standing else GAITS[int(np.searchsorted((0.72, 0.95), size[0])) + 1]
    extra = EXTRAS[rng.choice(3, p=(0.6, 0.2, 0.2))]
    mesh = pedestrian(gait, extra, _cloth(rng), _cloth(rng))
    return Thing(mesh, size, speed=0.0 if standing else rng.uniform(0.8, 1.7), name='Pedestrian', **place)


def _cloth(rng: np.random.Generator) -> int:
    return CLOTHES[rng.integers(len(CLOTHES))]


def _beside(plot: Plot) -> float:
    road, rng = plot.road, plot.rng
    width = max(road.walk, 1.5)
    return float(rng.choice((-1, 1), p=(0.52, 0.48)) * (road.edge + rng.uniform(0.15, 1.1) * width))


def _across(plot: Plot, style: Style) -> float:
    return float(plot.rng.uniform(-1, 1) * (plot.road.edge + 1.0))
