"""One frame, from its number alone."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.kitti_objects import KittiObjects
from ssal3d.simulation.camera import ROTATION, TRANSLATION, within_view
from ssal3d.simulation.labels import label
from ssal3d.simulation.presets import sensor_preset
from ssal3d.simulation.ray_casting import Caster
from ssal3d.simulation.scene import Scene, Snapshot, build_scene, snapshot
from ssal3d.simulation.sensor import Scan, scan
from ssal3d.simulation.sequences import Step, step_of

Array = NDArray[np.floating]

_STREAM_SENSOR = 21


@dataclass(frozen=True)
class Frame:
    """A simulated frame.

    Attributes:
        scan: Points and where they come from.
        objects: Labels.
        plane: ``(4,)`` road plane ax + by + cz + d = 0 in the rectified camera frame, its normal pointing up.
        snapshot: The scene behind it.
        step: Its place in a sequence.
        style: Kind of street.
    """

    scan: Scan
    objects: KittiObjects
    plane: Array
    snapshot: Snapshot
    step: Step
    style: str


def simulate_frame(seed: int, frame: int, preset: str = 'kitti') -> Frame:
    """Simulate a frame; the same arguments give the same bytes.

    Args:
        seed: Of the simulation, >= 0.
        frame: Number of the frame, >= 0.
        preset: Sensor, a key of `PRESETS`. The streets do not depend on it.

    Raises:
        UserError: If there is no such preset.
    """
    sensor = sensor_preset(preset)
    step, rear = step_of(seed, frame), sensor.view == 'full'
    scene = _scene(seed, step.sequence, step.length, rear)
    moment = snapshot(scene, seed, frame, step.step, sensor.height, sensor.max_range, rear=rear)
    caster = Caster(moment.mesh)
    rng = np.random.default_rng([seed, frame, _STREAM_SENSOR])
    seen = scan(moment.mesh, caster, sensor, rng)
    objects = label(moment, caster, points_of_objects(moment, seen))
    return Frame(seen, objects, _camera_plane(moment.plane), moment, step, scene.style)


def points_of_objects(moment: Snapshot, seen: Scan) -> NDArray[np.integer]:
    """Return the ``(K,)`` numbers of points within the image that each object returned."""
    owners = moment.owners[seen.faces[within_view(seen.exact, 0.0)]]
    return np.bincount(owners[owners >= 0], minlength=len(moment.objects))


@lru_cache(maxsize=4)
def _scene(seed: int, sequence: int, length: int, rear: bool) -> Scene:
    return build_scene(seed, Step(sequence, 0, length), rear=rear)


def _camera_plane(plane: Array) -> Array:
    normal = ROTATION @ plane[:3]
    return np.append(normal, plane[3] - normal @ TRANSLATION)
