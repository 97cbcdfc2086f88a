"""First hits of rays on triangles, by Embree."""

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from ssal3d.simulation.mesh import Mesh

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Hits:
    """What N rays hit first.

    Attributes:
        faces: ``(N,)`` face of the mesh; -1 for none.
        distances: ``(N,)`` float64 metres; infinite for none.
        cosines: ``(N,)`` absolute cosine of the angle of incidence, 0 for none.
    """

    faces: NDArray[np.int32]
    distances: Array
    cosines: Array


class Caster:
    """A mesh prepared for rays."""

    def __init__(self, mesh: Mesh) -> None:
        self._scene = EmbreeScene()
        # The scene keeps no reference to its geometry.
        self._geometry = TriangleMesh(self._scene, mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32))

    def cast(self, origins: Array, directions: Array) -> Hits:
        """Return the first hits.

        Args:
            origins: ``(N, 3)`` or ``(3,)`` metres.
            directions: ``(N, 3)`` unit vectors.
        """
        result = self._scene.run(*_rays(origins, directions), output=True)
        faces = result['primID'].astype(np.int32)
        normals = result['Ng'].astype(np.float64)
        lengths = np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
        cosines = np.abs(np.einsum('ni,ni->n', normals, directions)) / lengths
        hit = faces >= 0
        return Hits(faces, np.where(hit, result['tfar'], np.inf).astype(np.float64), np.where(hit, cosines, 0.0))

    def first(self, origins: Array, directions: Array) -> NDArray[np.int32]:
        """Return only the ``(N,)`` faces; directions need not have unit length."""
        return self._scene.run(*_rays(origins, directions), query='INTERSECT')


def _rays(origins: Array, directions: Array) -> tuple[Array, Array]:
    directions = np.ascontiguousarray(directions, dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(origins, directions.shape), dtype=np.float32), directions
