"""What stands beside the lanes of a scene: houses, borders of gardens, trees, poles, clutter."""

import numpy as np

from ssal3d.simulation import furniture
from ssal3d.simulation.plot import Plot, Thing
from ssal3d.simulation.styles import Style

_SIDES = (-1, 1)
_BEYOND = 130.0  # m along the road that are lined, beyond the ego vehicle's way
_WOOD = (36, 0.25)  # trees on a side: beyond the way, and for each metre of it
_CLOSED = 0.65  # probability that a house or trees close the view along the street, as behind a bend or a junction
_POLES = ('lamp', 'sign', 'sign', 'bollard')
_CLUTTER = ('bin', 'bush', 'bush', 'cabinet', 'conifer', 'sign')


def furnish(plot: Plot, style: Style, start: float, crossing: float | None) -> None:
    """Line both sides of the street, leaving out a crossing at ``crossing`` metres."""
    if plot.rng.random() < _CLOSED:
        _end_of_view(plot)
    for side in _SIDES:
        setback = plot.rng.uniform(*style.setback)
        if plot.rng.random() < style.houses:
            _houses(plot, side * (plot.road.front + setback), start, crossing)
        elif plot.rng.random() < 0.7:
            _wood(plot, side, start, crossing)
        if plot.rng.random() < style.border:
            _border(plot, style, side, start, crossing)
        _row(plot, style.trees, start, side, _TREE_LINES, ('tree',))
        _row(plot, style.poles, start, side, _POLE_LINES, _POLES)
        _row(plot, style.clutter, start, side, _CLUTTER_LINES, _CLUTTER)


# Where a row stands: shares of the side walk's width from the kerb, or metres beyond it.
_TREE_LINES = ((0.25, 0.0), (1.0, 1.2), (1.0, 3.0))
_POLE_LINES = ((0.15, 0.1), (1.0, 0.3))
_CLUTTER_LINES = ((0.85, 0.0), (1.0, 0.8), (1.0, 2.0))


def _row(
    plot: Plot, density: float, start: float, side: int, lines: tuple[tuple[float, float], ...], kinds: tuple[str, ...]
) -> None:
    rng, road = plot.rng, plot.road
    share, beyond = lines[rng.integers(len(lines))]
    d = side * (road.edge + 0.35 + share * road.walk + beyond)
    for _ in range(rng.poisson(density * (plot.way + _BEYOND - start) / 100)):
        s = rng.uniform(start, plot.way + _BEYOND)
        plot.add(_stand(str(rng.choice(kinds)), rng, s, d + side * rng.exponential(0.3)), gap=0.2)


def _stand(kind: str, rng: np.random.Generator, s: float, d: float) -> Thing:
    turn, grown = rng.uniform(-np.pi, np.pi), rng.uniform(0.75, 1.25)
    if kind == 'tree':
        variant = int(rng.integers(furniture.TREES))
        return Thing(furniture.tree(variant), (grown,) * 3, s, d, turn, far=furniture.tree(variant, coarse=True))
    if kind == 'bush':
        variant = int(rng.integers(furniture.BUSHES))
        return Thing(furniture.bush(variant), (grown,) * 3, s, d, turn, far=furniture.bush(variant, coarse=True))
    if kind == 'conifer':
        return Thing(furniture.conifer(), (grown, grown, grown * rng.uniform(0.7, 1.2)), s, d, turn)
    turn = (0.0 if d < 0 else np.pi) + rng.normal(0, 0.15)
    meshes = {
        'lamp': furniture.lamp_post,
        'sign': furniture.sign,
        'bollard': furniture.bollard,
        'bin': furniture.bin_,
        'cabinet': furniture.pillar_box,
    }
    return Thing(meshes[kind](), (1.0, 1.0, 1.0), s, d, turn)


def _houses(plot: Plot, front: float, start: float, crossing: float | None) -> None:
    rng, side = plot.rng, np.sign(front)
    terrace = rng.random() < 0.4
    s = start - rng.uniform(0, 15)
    while s < plot.way + _BEYOND:
        length, depth, storeys = rng.uniform(8, 22), rng.uniform(8, 13), int(rng.integers(2, 5))
        middle = s + length / 2
        if not _at_crossing(middle, length / 2, crossing):
            d = front + side * (depth / 2 + (0 if terrace else rng.uniform(0, 3)))
            plot.decorate(Thing(furniture.house(storeys), (length, depth, 3.0 * storeys + 2), middle, d, lift=-0.6))
        s += length + (0.0 if terrace else rng.uniform(2, 14))


def _wood(plot: Plot, side: int, start: float, crossing: float | None) -> None:
    rng = plot.rng
    for _ in range(rng.poisson(_WOOD[0] + _WOOD[1] * plot.way)):
        s, d = rng.uniform(start, plot.way + _BEYOND), side * (plot.road.front + 1 + rng.exponential(5))
        if not _at_crossing(s, 1.0, crossing):
            plot.decorate(_stand('tree' if rng.random() < 0.7 else 'bush', rng, s, d))


def _end_of_view(plot: Plot) -> None:
    """Put houses and trees across the street where it turns away."""
    rng = plot.rng
    at = plot.way + rng.uniform(50, 110)
    if rng.random() < 0.5:
        plot.decorate(Thing(furniture.house(3), (rng.uniform(20, 45), 12.0, 11.0), at + 6, rng.normal(0, 8), np.pi / 2))
    for _ in range(16):
        kind = 'tree' if rng.random() < 0.6 else 'bush'
        plot.decorate(_stand(kind, rng, at + rng.exponential(5), rng.uniform(-30, 30)))


def _border(plot: Plot, style: Style, side: int, start: float, crossing: float | None) -> None:
    rng = plot.rng
    country = style.walk[1] == 0
    kinds = (furniture.guard_rail, furniture.hedge, furniture.wall) if country else _BORDERS
    d = side * (plot.road.front + (0.6 if country else 0.25))
    s = start
    while s < plot.way + _BEYOND:
        mesh, height = kinds[rng.integers(len(kinds))](), rng.uniform(0.8, 2.3)
        length = rng.uniform(6, 24)  # m of one kind, then a gate
        for middle in np.arange(s + 1.25, s + length, 2.5):
            if not _at_crossing(middle, 1.25, crossing):
                plot.add(Thing(mesh, (2.5, 0.25 if height < 1.2 else 0.4, height), middle, d), gap=-0.1)
        s += length + rng.uniform(1.5, 8)


def _at_crossing(s: float, half: float, crossing: float | None) -> bool:
    return crossing is not None and abs(s - crossing) < half + 6.0


_BORDERS = (furniture.fence, furniture.hedge, furniture.wall)
