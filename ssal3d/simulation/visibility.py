"""How much of an object the camera sees: rays to it with the scene in between, against rays to it alone."""

import weakref

import numpy as np
from numpy.typing import NDArray

from ssal3d.simulation.camera import CAMERA_CENTRE, directions_of
from ssal3d.simulation.linear import apply
from ssal3d.simulation.mesh import Mesh
from ssal3d.simulation.ray_casting import Caster
from ssal3d.simulation.scene import Snapshot

Array = NDArray[np.floating]

_GRID = (20, 14)  # rays across and down an image box

# Prototypes are shared by all objects of a kind, so each is prepared once per process.
_prepared: 'weakref.WeakKeyDictionary[Mesh, Caster]' = weakref.WeakKeyDictionary()


def visible_share(snapshot: Snapshot, caster: Caster, index: int, window: Array) -> float:
    """Return the visible share of an object within the image.

    Args:
        snapshot: The scene at one moment.
        caster: Its mesh, prepared.
        index: Row of the object.
        window: ``(4,)`` its image box, clipped to the image.

    Returns:
        Rays through the window that meet the object first, divided by those that would meet it alone; windows of cars
        count as opaque. 0 if no ray meets it.
    """
    directions = directions_of(_pixels(window))
    alone = _hits_alone(snapshot, index, directions)
    if not alone.any():
        return 0.0
    faces = caster.first(CAMERA_CENTRE, directions[alone])
    return float((snapshot.owners[faces] == index).mean())


def _pixels(window: Array) -> Array:
    x = window[0] + (np.arange(_GRID[0]) + 0.5) / _GRID[0] * (window[2] - window[0])
    y = window[1] + (np.arange(_GRID[1]) + 0.5) / _GRID[1] * (window[3] - window[1])
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _hits_alone(snapshot: Snapshot, index: int, directions: Array) -> NDArray[np.bool_]:
    """Find the rays that meet the object alone, cast in the frame of its prototype: straight lines stay straight."""
    prototype = snapshot.objects[index].mesh
    if prototype not in _prepared:
        _prepared[prototype] = Caster(prototype)
    inverse = np.linalg.inv(snapshot.transforms[index])
    origin = inverse[:3, :3] @ CAMERA_CENTRE + inverse[:3, 3]
    local = apply(inverse[:3, :3], directions)
    return _prepared[prototype].first(origin, local / np.linalg.norm(local, axis=1, keepdims=True)) >= 0
