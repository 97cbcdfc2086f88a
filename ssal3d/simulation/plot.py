"""Who stands where: the things of a street, placed so that they do not run into each other."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ssal3d.simulation.mesh import Mesh
from ssal3d.simulation.road import Road

Array = NDArray[np.floating]


# Metres that a label's box stands off a vehicle at its sides and top, so that range noise does not push half of the
# points of a flat face out of it. The bottom is the ground; people have no flat faces.
_MARGINS = {'Car': 0.02, 'Van': 0.02, 'Truck': 0.02}


@dataclass(frozen=True, eq=False)
class Thing:
    """A mesh at a place.

    Attributes:
        mesh: Prototype.
        size: Factors along its axes; for prototypes of 1 x 1 x 1 m the size in metres. Of a thing with a class, the
            size of its label's box.
        s: Metres along the road at time 0.
        d: Metres to the left of the centre line at time 0.
        turn: Direction it faces against the road's, radians counter-clockwise.
        speed: Metres per second in that direction.
        name: Class for the labels; None for what is never labelled.
        lift: Metres above the ground.
        far: Coarse prototype for great distances; None for none. Only for things without a class.
    """

    mesh: Mesh
    size: tuple[float, float, float]
    s: float
    d: float
    turn: float = 0.0
    speed: float = 0.0
    name: str | None = None
    lift: float = 0.0
    far: Mesh | None = None

    @property
    def margin(self) -> float:
        """Metres between the mesh and the box of its label, at the sides and the top."""
        return _MARGINS.get(self.name or '', 0.0)

    @property
    def scale(self) -> Array:
        """Return ``(3,)`` factors for the prototype: a thing with a class fills its box up to the margin."""
        return np.array(self.size) - np.array([2.0, 2.0, 1.0]) * self.margin

    def place(self, time: float) -> tuple[float, float]:
        """Return (s, d) after so many seconds."""
        way = self.speed * time
        return self.s + way * float(np.cos(self.turn)), self.d + way * float(np.sin(self.turn))


@dataclass
class Plot:
    """A street that fills up.

    Attributes:
        road: Its course.
        rng: The source of chance for everything in it.
        duration: Seconds during which nothing may run into anything.
        way: Metres that the ego vehicle drives along the road meanwhile, where that is more than a few.
        moments: Seconds at which nothing may stand in anything, instead of the whole time: for long drives, which are
            seen at these moments only.
        things: What stands and moves there.
    """

    road: Road
    rng: np.random.Generator
    duration: float
    way: float = 0.0
    moments: tuple[float, ...] = ()
    things: list[Thing] = field(default_factory=list)
    _taken: Array = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self._taken = np.empty((64, max(1, len(self.moments)), 4))

    def add(self, thing: Thing, gap: float = 0.3) -> bool:
        """Add a thing if it is free of the others by ``gap`` metres during the whole time; tell whether it was."""
        areas = self._areas(thing)
        if self._collides(areas, gap):
            return False
        self.things.append(thing)
        self._take(areas)
        return True

    def decorate(self, thing: Thing) -> None:
        """Add a thing that claims no place, e.g. a house behind the side walk."""
        self.things.append(thing)

    def reserve(self, s: tuple[float, float], d: tuple[float, float]) -> None:
        """Keep a rectangle free."""
        self._take(np.array([s[0], s[1], d[0], d[1]]))

    def reserve_way(self, s: Array, length: tuple[float, float], d: tuple[float, float]) -> None:
        """Keep a rectangle around a place free that moves: ``s`` at each of the moments."""
        self._take(np.stack((s - length[0], s + length[1], np.full(len(s), d[0]), np.full(len(s), d[1])), axis=1))

    def _take(self, areas: Array) -> None:
        if self._count == len(self._taken):
            self._taken = np.concatenate((self._taken, np.empty_like(self._taken)))
        self._taken[self._count] = areas
        self._count += 1

    def _areas(self, thing: Thing) -> Array:
        """Return ``(T, 4)`` extents in s and d: one that the thing passes over, or one for each of the moments."""
        length, width = thing.size[0] / 2, thing.size[1] / 2
        cosine, sine = abs(np.cos(thing.turn)), abs(np.sin(thing.turn))
        along, across = length * cosine + width * sine, length * sine + width * cosine
        if self.moments:
            s, d = np.array([thing.place(time) for time in self.moments]).T
            return np.stack((s - along, s + along, d - across, d + across), axis=1)
        (s0, d0), (s1, d1) = thing.place(0.0), thing.place(self.duration)
        return np.array([[min(s0, s1) - along, max(s0, s1) + along, min(d0, d1) - across, max(d0, d1) + across]])

    def _collides(self, areas: Array, gap: float) -> bool:
        taken = self._taken[: self._count]
        s0, s1, d0, d1 = areas.T
        apart = (taken[..., 0] > s1 + gap) | (taken[..., 1] < s0 - gap)
        apart |= (taken[..., 2] > d1 + gap) | (taken[..., 3] < d0 - gap)
        return not apart.all()
