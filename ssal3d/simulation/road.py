"""The road: a bent, sloping strip with kerbs and side walks; maps places along it to the world.

A place is (s, d): metres along the road and metres to its left. The world's x follows the road at s = 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssal3d.simulation.materials import Material
from ssal3d.simulation.mesh import Mesh

Array = NDArray[np.floating]

_WALK_SLOPE = 0.025  # side walks drain towards the road
_EASED = 50.0  # m; beyond, bend and slope go on straight


@dataclass(frozen=True)
class Road:
    """A street's cross section and course.

    Attributes:
        half_width: Metres from the centre line to the outer edge of the lanes.
        parking: Width in metres of the strip for parked cars on each side; 0 for none.
        walk: Width in metres of the side walk on each side; 0 for none.
        bend: Curvature in 1/m, positive to the left.
        climb: Change of the slope per metre, positive uphill.
        kerb: Height in metres of the side walk.
        verge: `Material` beyond the side walk.
        bank: Slope of the ground beyond the side walk, positive upwards.
    """

    half_width: float
    parking: float
    walk: float
    bend: float
    climb: float
    kerb: float = 0.12
    verge: Material = Material.GRASS
    bank: float = 0.0

    @property
    def edge(self) -> float:
        """Metres from the centre line to the kerb."""
        return self.half_width + self.parking

    @property
    def front(self) -> float:
        """Metres from the centre line to the outer edge of the side walk."""
        return self.edge + self.walk

    def position(self, s: ArrayLike, d: ArrayLike) -> tuple[Array, Array]:
        """Return world x and y in metres."""
        s = np.asarray(s, dtype=np.float64)
        return s, _curve(s, self.bend) + np.asarray(d, dtype=np.float64)

    def heading(self, s: ArrayLike) -> Array:
        """Return the road's direction in radians."""
        return np.arctan(self.bend * np.clip(np.asarray(s, dtype=np.float64), -_EASED, _EASED))

    def slope(self, s: float) -> float:
        """Return the road's slope in radians, positive uphill."""
        return float(np.arctan(self.climb * np.clip(s, -_EASED, _EASED)))

    def height(self, s: ArrayLike, d: ArrayLike) -> Array:
        """Return the ground's height in metres."""
        s, outside = np.asarray(s, dtype=np.float64), np.abs(np.asarray(d, dtype=np.float64))
        step = np.where(outside > self.edge, self.kerb, 0.0)
        return _curve(s, self.climb) + step + self._rise(outside)

    def _rise(self, outside: Array) -> Array:
        """Return metres by which side walk and verge rise away from the kerb."""
        walked = np.clip(outside - self.edge, 0.0, self.walk)
        return _WALK_SLOPE * walked + self.bank * np.maximum(outside - self.front, 0.0)

    def plane(self, s: float) -> tuple[float, float, float]:
        """Return (a, b, c) of the plane z = a x + b y + c of the road surface at s: tangent along, level across."""
        slope = self.climb * float(np.clip(s, -_EASED, _EASED))
        return slope, 0.0, float(_curve(np.array(s), self.climb)) - slope * s

    def ground(self, start: float, end: float) -> Mesh:
        """Return the ground from one s to another, 90 m to both sides."""
        along = np.arange(start, end + 8.0, 8.0)
        lines, raised, strips = self._strips()
        s, d = np.meshgrid(along, lines, indexing='ij')
        x, y = self.position(s, d)
        z = _curve(s, self.climb) + raised * self.kerb + self._rise(np.abs(d))
        index = np.arange(s.size).reshape(s.shape)
        near, far, left, beside = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
        faces = np.stack((near, far, left, near, left, beside), axis=-1).reshape(-1, 3).astype(np.int32)
        materials = np.tile(np.repeat(np.array(strips, dtype=np.uint8), 2), len(along) - 1)
        return Mesh(np.stack((x, y, z), axis=-1).reshape(-1, 3), faces, materials)

    def _strips(self) -> tuple[Array, Array, list[Material]]:
        """Return the lines at constant d, whether each lies on top of the kerb, and the material between each two."""
        half = np.array([self.edge, self.edge, self.front, self.front + 25.0, 90.0])
        lines = np.concatenate((-half[::-1], half))
        raised = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
        beside = [Material.PAVING, Material.PAVING if self.walk else self.verge, self.verge, self.verge]
        return lines, raised, [*beside[::-1], Material.ASPHALT, *beside]


def _curve(s: Array, second: float) -> Array:
    """Return the curve with constant second derivative within `_EASED` metres, straight beyond."""
    inner = np.clip(s, -_EASED, _EASED)
    return second * (inner**2 / 2 + inner * (s - inner))
