"""A street scene: what stands and moves on which road, and where the ego vehicle is when."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssal3d.simulation import passers_by, roadside, traffic
from ssal3d.simulation.linear import apply
from ssal3d.simulation.mesh import Mesh, merge, rotation_z
from ssal3d.simulation.plot import Plot, Thing
from ssal3d.simulation.road import Road
from ssal3d.simulation.sequences import Step
from ssal3d.simulation.styles import STYLES, Style

Array = NDArray[np.floating]

_STREAM_SCENE, _STREAM_POSE = 11, 12
_NOSE_DOWN = np.radians(0.40)  # pitch of the LiDAR against the ego vehicle, as in KITTI
_TILT = np.radians(0.30)  # standard deviation of the ego vehicle's pitch and roll against the road
_CLIMB = 1 / 2000  # standard deviation of the change of slope, 1/m
_HALF_VIEW = 0.9  # x over y at the border of the camera's view with its margin, a little wider
_COARSE = 40.0  # m beyond which a thing's coarse mesh is used
_LONGEST = 14.0  # m from a thing's middle to its farthest corner


@dataclass(frozen=True)
class Scene:
    """A street over the time of a sequence.

    Attributes:
        style: Name in `STYLES`.
        road: Its course.
        things: What stands and moves there.
        ego: s and d in metres at time 0.
        speed: Of the ego vehicle in m/s.
        interval: Seconds between two frames.
    """

    style: str
    road: Road
    things: list[Thing]
    ego: tuple[float, float]
    speed: float
    interval: float


@dataclass(frozen=True)
class Snapshot:
    """A scene as the LiDAR meets it in one frame, in the LiDAR frame.

    Attributes:
        mesh: Everything near enough to be seen.
        owners: ``(F,)`` row of `objects` that owns each face; -1 for what is not labelled.
        objects: The things with a class.
        meshes: Their meshes.
        transforms: ``(4, 4)`` each, from a thing's prototype to the LiDAR frame.
        headings: ``(3,)`` unit vectors each: where a thing's front looks.
        plane: (a, b, c, d) of the road surface at the ego vehicle, ax + by + cz + d = 0.
        pose: ``(4, 4)`` from the LiDAR frame to the world.
    """

    mesh: Mesh
    owners: NDArray[np.int32]
    objects: list[Thing]
    meshes: list[Mesh]
    transforms: list[Array]
    headings: list[Array]
    plane: Array
    pose: Array


def build_scene(seed: int, step: Step, *, rear: bool = False) -> Scene:
    """Build the scene of a sequence.

    Args:
        seed: Of the simulation.
        step: Any frame of the sequence.
        rear: Also line the street behind the ego vehicle; what is ahead stays the same.
    """
    rng = np.random.default_rng([seed, step.sequence, _STREAM_SCENE])
    name = str(rng.choice(list(STYLES), p=np.array([style.share for style in STYLES.values()])))
    style = STYLES[name]
    road = draw_road(style, rng)
    interval, speed = rng.uniform(0.1, 0.35), rng.uniform(*style.speed) * (rng.random() > 0.15)
    lane = int(rng.integers(style.lanes))
    ego = (0.0, -style.lane * (lane + 0.5) + rng.normal(0, 0.15))
    duration = interval * (step.length - 1)
    plot = Plot(road, rng, duration)
    plot.reserve((-3.0, speed * duration + 5.0), (ego[1] - 1.2, ego[1] + 1.2))
    crossing = rng.uniform(12, 55) if rng.random() < style.crossing else None
    if crossing is not None:
        traffic.cross(plot, crossing)
    traffic.drive(plot, style, 0.0, speed)
    passers_by.walkers(plot, style, 0.0)
    passers_by.riders(plot, style, 0.0)
    traffic.park(plot, style, -8.0)
    passers_by.seats(plot, style, 0.0)
    passers_by.stands(plot, style, 0.0)
    roadside.furnish(plot, style, -12.0, crossing)
    things = list(plot.things)
    if rear:
        things += _rear(seed, step, style, road, duration)
    return Scene(name, road, things, ego, speed, interval)


def snapshot(
    scene: Scene,
    seed: int,
    frame: int,
    step: int,
    height: float,
    reach: float,
    *,
    rear: bool,
    nose_down: float = _NOSE_DOWN,
) -> Snapshot:
    """Move a scene to the time of a frame and into the LiDAR frame.

    Args:
        scene: What `build_scene` returned.
        seed: Of the simulation.
        frame: Number of the frame.
        step: Its place in the sequence.
        height: Of the LiDAR above the road in metres.
        reach: Metres that the LiDAR sees.
        rear: Whether it sees what is behind it.
        nose_down: Radians that it looks down against the ego vehicle.
    """
    rng = np.random.default_rng([seed, frame, _STREAM_POSE])
    time, road = step * scene.interval, scene.road
    ego_s, ego_d = scene.ego[0] + scene.speed * time, scene.ego[1]
    origin, rotation = _pose(road, ego_s, ego_d, height, nose_down, rng)
    ground = road.ground(ego_s - (reach if rear else 4.0), ego_s + reach)
    parts = [Mesh(apply(rotation.T, ground.vertices - origin), ground.faces, ground.materials)]
    kept: list[tuple[Thing, Mesh, Array]] = []
    owners = [np.full(len(ground.faces), -1)]
    for thing, transform in _near(scene, time, origin, rotation, reach, rear):
        prototype = thing.far if thing.far and np.hypot(*transform[:2, 3]) > _COARSE else thing.mesh
        mesh = Mesh(apply(transform[:3], prototype.vertices), prototype.faces, prototype.materials)
        owners.append(np.full(len(mesh.faces), len(kept) if thing.name else -1))
        parts.append(mesh)
        if thing.name:
            kept.append((thing, mesh, transform))
    return Snapshot(
        mesh=merge(parts),
        owners=np.concatenate(owners).astype(np.int32),
        objects=[thing for thing, _, _ in kept],
        meshes=[mesh for _, mesh, _ in kept],
        transforms=[transform for _, _, transform in kept],
        headings=[transform[:3, 0] / np.linalg.norm(transform[:3, 0]) for _, _, transform in kept],
        plane=_plane(road, ego_s, origin, rotation),
        pose=_transform(rotation, origin),
    )


def draw_road(style: Style, rng: np.random.Generator) -> Road:
    """Draw a street's cross section and course."""
    return Road(
        half_width=style.lane * style.lanes,
        parking=style.parking,
        walk=rng.uniform(*style.walk),
        bend=float(np.clip(rng.normal(0, style.bend), -0.006, 0.006)),
        climb=float(np.clip(rng.normal(0, _CLIMB), -0.0016, 0.0016)),
        kerb=rng.uniform(0.08, 0.18) if style.walk[1] else 0.0,
        verge=style.verge,
        bank=float(np.clip(rng.normal(0.4, 1.0), -0.6, 2.5)) * style.bank,
    )


def _rear(seed: int, step: Step, style: Style, road: Road, duration: float) -> list[Thing]:
    """Return a street of its own that leads away behind the ego vehicle."""
    rng = np.random.default_rng([seed, step.sequence, _STREAM_SCENE, 1])
    back = Plot(road, rng, duration)
    passers_by.walkers(back, style, 12.0)
    traffic.park(back, style, 12.0)
    roadside.furnish(back, style, 12.0, None)
    return [Thing(**{**vars(t), 's': -t.s, 'turn': t.turn, 'speed': 0.0}) for t in back.things]


def _pose(
    road: Road, s: float, d: float, height: float, nose_down: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return the LiDAR's place in the world and the rotation whose columns are its axes."""
    x, y = road.position(s, d)
    origin = np.array([x, y, road.height(s, d) + height])
    yaw, pitch = float(road.heading(s)) + rng.normal(0, 0.02), nose_down - road.slope(s) + rng.normal(0, _TILT)
    roll = rng.normal(0, _TILT)
    tilt = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    sway = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    return origin, rotation_z(yaw) @ tilt @ sway


def _near(
    scene: Scene, time: float, origin: Array, rotation: Array, reach: float, rear: bool
) -> list[tuple[Thing, Array]]:
    """Return what is near enough to be seen, each with its ``(4, 4)`` from the prototype to the LiDAR frame."""
    road, things = scene.road, scene.things
    s, d, turn, speed, lift = np.array([(t.s, t.d, t.turn, t.speed, t.lift) for t in things]).reshape(-1, 5).T
    s, d = s + speed * time * np.cos(turn), d + speed * time * np.sin(turn)
    x, y = road.position(s, d)
    places = apply(rotation.T, np.stack((x, y, road.height(s, d) + lift), axis=1) - origin)
    distance = np.hypot(places[:, 0], places[:, 1])
    seen = (distance < reach) & (rear | (places[:, 0] > _HALF_VIEW * np.abs(places[:, 1]) - _LONGEST))
    yaws = road.heading(s) + turn
    return [
        (things[i], _transform(rotation.T @ rotation_z(yaws[i]) * things[i].scale, places[i]))
        for i in np.flatnonzero(seen)
    ]


def _transform(linear: Array, offset: Array) -> Array:
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = linear, offset
    return transform


def _plane(road: Road, s: float, origin: Array, rotation: Array) -> Array:
    a, b, c = road.plane(s)
    normal = np.array([-a, -b, 1.0])
    normal /= np.linalg.norm(normal)
    offset = normal @ (np.array([0.0, 0.0, c]) - origin)
    return np.append(rotation.T @ normal, -offset)
