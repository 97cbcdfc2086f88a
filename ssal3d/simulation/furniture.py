"""What lines a street and is never labelled: trees, bushes, poles, signs, bins, fences, walls, houses.

These are what detectors take for pedestrians and cyclists. Trees and bushes come in metres, the rest as prototypes of
1 x 1 x 1 m (x along the street, facing +y and -y) to be scaled.
"""

from functools import cache

import numpy as np

from ssal3d.simulation.materials import Material
from ssal3d.simulation.mesh import Mesh, ball, box, flakes, merge, normalised, of_material, tube

TREES = 6
BUSHES = 4


@cache
def tree(variant: int, coarse: bool = False) -> Mesh:
    """Return a tree of 5 to 9 m; its crown is loose triangles, so some rays pass through; a coarse one has fewer."""
    rng = np.random.default_rng([101, variant])
    height, crown = rng.uniform(5.0, 9.0), rng.uniform(1.4, 2.6)  # m
    trunk = rng.uniform(1.6, 2.6)  # m up to the first branches
    radius = rng.uniform(0.1, 0.22)
    parts = [tube((0, 0, -0.3), (0, 0, trunk + 1.0), radius, Material.BARK)]
    for _ in range(4):
        tip = np.array([*rng.uniform(-0.7, 0.7, 2) * crown, rng.uniform(trunk + 0.8, height - 1.0)])
        parts.append(tube((0, 0, trunk), tip, 0.05, Material.BARK, sides=3))
    middle = (trunk + height) / 2
    count, size = (50, 0.66) if coarse else (200, 0.33)
    leaves = _in_ball(rng, count) * (crown, crown, (height - trunk) / 2) + (0, 0, middle)
    parts.append(flakes(leaves, size, _LEAF, rng))
    return merge(parts)


@cache
def conifer() -> Mesh:
    """Return a narrow evergreen of 2.5 m, in size and outline not unlike a person."""
    rng = np.random.default_rng(102)
    centres = _in_ball(rng, 120) * (0.45, 0.45, 1.15) + (0, 0, 1.25)
    return merge([tube((0, 0, -0.1), (0, 0, 2.2), 0.06, Material.BARK, sides=4), flakes(centres, 0.16, _LEAF, rng)])


@cache
def bush(variant: int, coarse: bool = False) -> Mesh:
    """Return a bush of 0.8 to 2 m: an opaque heart in loose leaves; a coarse one is simpler."""
    rng = np.random.default_rng([103, variant])
    size = np.array([rng.uniform(0.4, 1.1), rng.uniform(0.4, 0.9), rng.uniform(0.45, 1.0)])  # m, half axes
    heart = ball((0, 0, size[2] * 0.9), size * 0.65, _LEAF)
    if coarse:
        heart = box((0, 0, size[2] * 0.9), size * 1.1, _LEAF)
    leaves = _in_ball(rng, 20 if coarse else 60) * size + (0, 0, size[2])
    return merge([heart, flakes(leaves, 0.26 if coarse else 0.15, _LEAF, rng)])


@cache
def hedge() -> Mesh:
    """Return a prototype piece of hedge."""
    rng = np.random.default_rng(104)
    centres = rng.uniform((-0.5, -0.5, 0.05), (0.5, 0.5, 1.0), (50, 3))
    skin = flakes(centres, 0.12, _LEAF, rng)
    return normalised(merge([box((0, 0, 0.48), (1.0, 0.7, 0.92), _LEAF), skin]))


@cache
def lamp_post() -> Mesh:
    """Return a lamp post of 7 m."""
    mast = tube((0, 0, 0), (0, 0, 7.0), 0.08, Material.METAL)
    return merge([mast, tube((0, 0, 7.0), (0, 1.2, 7.2), 0.05, Material.METAL, 4)])


@cache
def sign() -> Mesh:
    """Return a traffic sign of 2.7 m; its plate faces along the street."""
    return merge([tube((0, 0, 0), (0, 0, 2.7), 0.04, Material.METAL, 5), _plate()])


@cache
def bollard() -> Mesh:
    """Return a bollard of 1 m."""
    return tube((0, 0, 0), (0, 0, 1.0), 0.09, Material.CONCRETE, 8)


@cache
def bin_() -> Mesh:
    """Return a wheeled bin of 1.1 m."""
    return merge([box((0, 0, 0.5), (0.55, 0.6, 1.0), Material.WOOD), box((0.03, 0, 1.04), (0.62, 0.64, 0.08), _RUBBER)])


@cache
def pillar_box() -> Mesh:
    """Return a switch cabinet or advertising pillar as tall as a person."""
    return merge(
        [tube((0, 0, 0), (0, 0, 1.6), 0.3, Material.METAL, 8), ball((0, 0, 1.6), (0.3, 0.3, 0.2), Material.METAL)]
    )


@cache
def bench() -> Mesh:
    """Return a bench of 1.6 m that faces +y."""
    seat = box((0, 0, 0.43), (1.6, 0.45, 0.06), Material.WOOD)
    back = box((0, -0.25, 0.68), (1.6, 0.05, 0.35), Material.WOOD)
    legs = [box((side, -0.05, 0.2), (0.08, 0.4, 0.4), Material.METAL) for side in (-0.65, 0.65)]
    return merge([seat, back, *legs])


@cache
def fence() -> Mesh:
    """Return a prototype piece of fence: posts and rails with gaps."""
    posts = [box((x, 0, 0.5), (0.03, 1.0, 1.0), Material.WOOD) for x in (-0.485, -0.17, 0.17, 0.485)]
    rails = [box((0, 0, z), (1.0, 0.4, 0.12), Material.WOOD) for z in (0.25, 0.55, 0.9)]
    return normalised(merge([*posts, *rails]))


@cache
def guard_rail() -> Mesh:
    """Return a prototype piece of guard rail: a beam on posts."""
    beam = box((0, 0, 0.8), (1.0, 0.3, 0.4), Material.METAL)
    return normalised(merge([beam, *(box((x, 0, 0.4), (0.03, 0.6, 0.8), Material.METAL) for x in (-0.4, 0.0, 0.4))]))


@cache
def wall() -> Mesh:
    """Return a prototype piece of wall."""
    return normalised(box((0, 0, 0.5), (1, 1, 1), Material.CONCRETE))


@cache
def house(storeys: int) -> Mesh:
    """Return a prototype house with windows to +y and -y and a gable roof along x."""
    parts = [box((0, 0, 0.4), (1, 0.96, 0.8), Material.FACADE)]
    corners = [
        (-0.5, -0.5, 0.78),
        (-0.5, 0.5, 0.78),
        (-0.5, 0, 1.0),
        (0.5, -0.5, 0.78),
        (0.5, 0.5, 0.78),
        (0.5, 0, 1.0),
    ]
    roof = [(0, 1, 2), (3, 5, 4), (0, 2, 5), (0, 5, 3), (1, 4, 5), (1, 5, 2)]
    parts.append(of_material(corners, roof, Material.FACADE))
    rise = 0.78 / storeys
    for storey in range(storeys):
        for x in (-0.36, -0.12, 0.12, 0.36):
            size, centre = (0.11, 0.98, 0.5 * rise), (x, 0.0, (storey + 0.55) * rise)
            parts.append(box(centre, size, Material.GLASS))
    return normalised(merge(parts))


def _plate() -> Mesh:
    return box((0, 0, 2.35), (0.04, 0.6, 0.6), Material.REFLECTOR)


def _in_ball(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return ``(count, 3)`` points in the unit ball, denser towards its surface."""
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * rng.uniform(size=(count, 1)) ** 0.2


_LEAF = Material.LEAF
_RUBBER = Material.RUBBER
