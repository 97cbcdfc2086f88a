"""One frame of a drive in Waymo's terms: points in the vehicle frame, and every object around that returned a point."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.waymo_frame import POINT_FEATURES, WaymoFrame, WaymoLabels
from ssal3d.simulation.drive import INTERVAL, build_drive, drive_step_of
from ssal3d.simulation.mesh import Mesh
from ssal3d.simulation.presets import sensor_preset
from ssal3d.simulation.ray_casting import Caster
from ssal3d.simulation.scene import Scene, Snapshot, snapshot
from ssal3d.simulation.sensor import Scan, scan
from ssal3d.simulation.sequences import Step

Array = NDArray[np.floating]

TYPE_OF_CLASS = {'Car': 1, 'Van': 1, 'Truck': 1, 'Pedestrian': 2, 'Person_sitting': 2, 'Cyclist': 4}
_STREAM_SENSOR = 41
_START = 1_500_000_000_000_000  # microseconds: the time of the first drive
_APART = 60_000_000  # microseconds between the starts of two drives


@dataclass(frozen=True)
class DriveFrame:
    """A simulated frame of a drive.

    Attributes:
        frame: Pose, time and labels; it has neither LiDARs nor cameras.
        points: ``(N, 6)`` float32: x, y, z in the vehicle frame, tanh of the intensity, elongation (0: a ray has no
            width), pixel (-1: there is no range image).
        scan: Where the points come from, in the LiDAR frame.
        snapshot: The scene behind it.
        step: Its place in the drive.
        style: Kind of street.
    """

    frame: WaymoFrame
    points: NDArray[np.float32]
    scan: Scan
    snapshot: Snapshot
    step: Step
    style: str


def simulate_drive_frame(seed: int, frame: int, preset: str = 'waymo') -> DriveFrame:
    """Simulate a frame of a drive; the same arguments give the same bytes.

    Args:
        seed: Of the simulation, >= 0.
        frame: Number of the frame, >= 0.
        preset: Sensor, a key of `PRESETS` with the layout ``'waymo'``.

    Raises:
        UserError: If there is no such preset.
    """
    sensor, step = sensor_preset(preset), drive_step_of(seed, frame)
    scene = _drive(seed, step.sequence)
    moment = snapshot(scene, seed, frame, step.step, sensor.height, sensor.max_range, rear=True, nose_down=0.0)
    seen = scan(moment.mesh, Caster(moment.mesh), sensor, np.random.default_rng([seed, frame, _STREAM_SENSOR]))
    mount = np.array(sensor.mount)
    points = np.zeros((len(seen.points), POINT_FEATURES), np.float32)
    points[:, :3] = seen.points[:, :3] + mount
    points[:, 3], points[:, 5] = np.tanh(seen.points[:, 3]), -1
    pose = moment.pose.astype(np.float64)
    pose[:3, 3] -= pose[:3, :3] @ mount
    segment, time = f'sim{seed}_{step.sequence:06d}', round(1e6 * INTERVAL * step.step)
    timestamp = _START + _APART * (step.sequence // step.length) + time
    labels = label_around(scene, moment, seen, mount)
    made = WaymoFrame(segment, 20 * step.step, timestamp, pose, lasers=[], cameras=[], labels=labels)
    return DriveFrame(made, points, seen, moment, step, scene.style)


def label_around(scene: Scene, moment: Snapshot, seen: Scan, mount: Array) -> WaymoLabels:
    """Label every object that returned a point, wherever it is.

    Args:
        scene: The drive; a thing has the same name in all its frames.
        moment: The scene in the LiDAR frame.
        seen: What the LiDAR measured.
        mount: ``(3,)`` place of the LiDAR in the vehicle frame.
    """
    owners = moment.owners[seen.faces]
    counts = np.bincount(owners[owners >= 0], minlength=len(moment.objects))
    rows = np.flatnonzero(counts)
    names = {id(thing): f'{number:05d}' for number, thing in enumerate(scene.things)}
    boxes = [box_around(moment.meshes[row], moment.headings[row], moment.objects[row].margin) for row in rows]
    in_vehicle = np.array(boxes).reshape(-1, 7)
    in_vehicle[:, :3] += mount
    return WaymoLabels(
        boxes=in_vehicle,
        types=np.array([TYPE_OF_CLASS[moment.objects[row].name or ''] for row in rows], dtype=np.int64),
        levels=np.zeros(len(rows), dtype=np.int64),  # nobody set one, so the points decide
        num_points=counts[rows],
        ids=[names[id(moment.objects[row])] for row in rows],
    )


def box_around(mesh: Mesh, heading: Array, margin: float) -> list[float]:
    """Return the tightest upright box around a mesh, plus a margin at its sides and top, gravity-centred.

    Args:
        mesh: In a frame whose z axis points up.
        heading: ``(3,)`` where its front looks.
        margin: Metres.
    """
    yaw = float(np.arctan2(heading[1], heading[0]))
    cosine, sine = np.cos(yaw), np.sin(yaw)
    x, y, z = mesh.vertices[np.unique(mesh.faces)].T
    along, aside = cosine * x + sine * y, cosine * y - sine * x
    low = np.array([along.min() - margin, aside.min() - margin, z.min()])
    high = np.array([along.max() + margin, aside.max() + margin, z.max() + margin])
    a, b, height = (low + high) / 2
    return [cosine * a - sine * b, sine * a + cosine * b, height, *(high - low), yaw]


@lru_cache(maxsize=2)
def _drive(seed: int, sequence: int) -> Scene:
    return build_drive(seed, sequence)
