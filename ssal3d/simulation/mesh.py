"""Triangle meshes with a material on every face, and the few shapes everything is built from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray

from ssal3d.simulation.materials import Material

Array = NDArray[np.floating]
Ints = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in metres; x forward, y left, z up.

    Attributes:
        vertices: ``(V, 3)`` float64.
        faces: ``(F, 3)`` int32 rows of `vertices`.
        materials: ``(F,)`` uint8 `Material` of each face.
    """

    vertices: Array
    faces: Ints
    materials: Ints

    def moved(self, offset: ArrayLike) -> 'Mesh':
        """Return the mesh shifted by ``(3,)`` metres."""
        return Mesh(self.vertices + np.asarray(offset), self.faces, self.materials)

    def scaled(self, factors: ArrayLike) -> 'Mesh':
        """Return the mesh scaled along its axes by ``(3,)`` factors."""
        return Mesh(self.vertices * np.asarray(factors), self.faces, self.materials)


def rotation_z(yaw: float) -> Array:
    """Return the ``(3, 3)`` rotation about z."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Return one mesh of all parts."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts)]).astype(np.int32),
        np.concatenate([mesh.materials for mesh in meshes]),
    )


def normalised(mesh: Mesh) -> Mesh:
    """Return the mesh in a box of 1 x 1 x 1 m around the origin that stands on z = 0; `scaled` then sets its size."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    base = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    return mesh.moved(-base).scaled(1 / (high - low))


def of_material(vertices: ArrayLike, faces: ArrayLike, material: Material) -> Mesh:
    """Return a mesh of one material."""
    faces = np.asarray(faces, dtype=np.int32)
    return Mesh(np.asarray(vertices, dtype=np.float64), faces, np.full(len(faces), material, dtype=np.uint8))


def box(centre: ArrayLike, size: ArrayLike, material: Material) -> Mesh:
    """Return a box with its gravity centre and its size along x, y, z in metres."""
    return of_material(_BOX.vertices * np.asarray(size) + np.asarray(centre), _BOX.faces, material)


def tube(start: ArrayLike, end: ArrayLike, radius: float, material: Material, sides: int = 6) -> Mesh:
    """Return a closed cylinder from one ``(3,)`` point to another."""
    shape = trimesh.creation.cylinder(radius, segment=np.array([start, end], dtype=np.float64), sections=sides)
    return of_material(shape.vertices, shape.faces, material)


def limb(joints: Sequence[ArrayLike], radii: Sequence[float], material: Material) -> Mesh:
    """Return tubes through K joints; K - 1 radii in metres."""
    return merge([tube(a, b, radius, material) for a, b, radius in zip(joints[:-1], joints[1:], radii)])


def ball(centre: ArrayLike, radii: ArrayLike, material: Material) -> Mesh:
    """Return an ellipsoid with ``(3,)`` half axes in metres."""
    return of_material(_BALL.vertices * np.asarray(radii) + np.asarray(centre), _BALL.faces, material)


def loft(sections: Array, materials: Ints) -> Mesh:
    """Skin a row of closed outlines, and close both ends.

    Args:
        sections: ``(S, K, 3)`` outlines in metres, counter-clockwise seen against the row's direction.
        materials: ``(S - 1, K)`` `Material` of the quadrilateral between outline points k and k + 1 of sections s and
            s + 1; the ends take those of the first and last row's first point.
    """
    rows, points, _ = sections.shape
    index = np.arange(rows * points).reshape(rows, points)
    following = np.roll(index, -1, axis=1)
    a, b, c, d = index[:-1], following[:-1], following[1:], index[1:]
    faces = np.stack((a, b, c, a, c, d), axis=-1).reshape(-1, 3)
    fan = np.array([(0, k + 1, k) for k in range(1, points - 1)])
    ends = np.concatenate((fan, fan[:, ::-1] + (rows - 1) * points))
    colours = np.repeat(materials.ravel(), 2)
    end_colours = np.repeat([materials[0, 0], materials[-1, 0]], len(fan))
    return Mesh(
        sections.reshape(-1, 3).astype(np.float64),
        np.concatenate((faces, ends)).astype(np.int32),
        np.concatenate((colours, end_colours)).astype(np.uint8),
    )


def flakes(centres: Array, size: float, material: Material, rng: np.random.Generator) -> Mesh:
    """Return one randomly turned triangle of about ``size`` metres at each of ``(N, 3)`` centres: leaves, twigs."""
    corners = rng.normal(size=(len(centres), 3, 3))
    corners *= size / np.linalg.norm(corners, axis=-1, keepdims=True)
    vertices = (centres[:, None] + corners).reshape(-1, 3)
    return of_material(vertices, np.arange(len(vertices)).reshape(-1, 3), material)


_BOX = trimesh.creation.box()
_BALL = trimesh.creation.icosphere(subdivisions=1)
