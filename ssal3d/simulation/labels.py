"""KITTI labels computed from meshes: 3D box, image box, truncation, occlusion, observation angle."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.kitti_objects import KittiObjects
from ssal3d.simulation.camera import IMAGE_SIZE, project, to_camera
from ssal3d.simulation.mesh import Mesh
from ssal3d.simulation.ray_casting import Caster
from ssal3d.simulation.scene import Snapshot
from ssal3d.simulation.visibility import visible_share

Array = NDArray[np.floating]

DONT_CARE = 'DontCare'
MIN_POINTS = 5  # an object with fewer returns is not labelled
_MAX_DISTANCE = 72.0  # m; beyond, KITTI hardly labels anything
_MAX_TRUNCATION = 0.97
_MIN_PIXELS = 4.0  # height and width of an image box that an annotator sees
_MIN_LABEL_HEIGHT = 13.0  # pixels; a hundredth of KITTI's boxes are lower than 15
_OCCLUSION_SHARES = (0.94, 0.55, 0.10)  # visible at least: level 0, 1, 2; less is 3
_DONT_CARE_SHARE = 0.15  # visible share that an annotator notices
_NEAR = 0.3  # m before the camera at which meshes are cut
_FILLER = (-1.0, -1000.0, -10.0)  # dimensions, location, angles of a DontCare region


@dataclass(frozen=True)
class Extent:
    """An object in the rectified camera frame.

    Attributes:
        dimensions: ``(3,)`` height, width, length in metres.
        location: ``(3,)`` bottom centre in metres.
        rotation_y: Radians in [-pi, pi).
    """

    dimensions: Array
    location: Array
    rotation_y: float


def extent(mesh: Mesh, heading: Array, margin: float = 0.0) -> Extent:
    """Return the tightest upright box around a mesh, plus a margin at its sides and top.

    Args:
        mesh: In the LiDAR frame.
        heading: ``(3,)`` where its front looks, in the LiDAR frame.
        margin: Metres.
    """
    used = mesh.vertices[np.unique(mesh.faces)]
    x, y, z = to_camera(used).T
    across, _, ahead = to_camera(np.array([heading]))[0] - to_camera(np.zeros((1, 3)))[0]
    turn = float(-np.arctan2(ahead, across))
    cosine, sine = np.cos(turn), np.sin(turn)
    along, aside = cosine * x - sine * z, sine * x + cosine * z
    (a0, a1), (b0, b1) = (along.min(), along.max()), (aside.min(), aside.max())
    a, b = (a0 + a1) / 2, (b0 + b1) / 2
    location = np.array([cosine * a + sine * b, y.max(), -sine * a + cosine * b])
    return Extent(
        np.array([y.max() - y.min(), b1 - b0, a1 - a0]) + margin * np.array([1.0, 2.0, 2.0]), location, _wrapped(turn)
    )


def image_box(mesh: Mesh) -> Array | None:
    """Return ``(4,)`` x1, y1, x2, y2 around the projection of a mesh, not clipped to the image.

    Triangles that reach behind the camera are cut 0.3 m before it; None if nothing is before it.
    """
    points = to_camera(mesh.vertices)
    depth = points[:, 2]
    edges = np.concatenate((mesh.faces[:, :2], mesh.faces[:, 1:], mesh.faces[:, ::2]))
    start, end = edges.T
    cut = (depth[start] - _NEAR) * (depth[end] - _NEAR) < 0
    start, end = start[cut], end[cut]
    share = ((_NEAR - depth[start]) / (depth[end] - depth[start]))[:, None]
    visible = np.concatenate((points[depth >= _NEAR], points[start] + share * (points[end] - points[start])))
    if len(visible) == 0:
        return None
    pixels = project(visible)
    return np.concatenate((pixels.min(axis=0), pixels.max(axis=0)))


def clipped(box: Array) -> Array:
    """Return an image box clipped to the image; its size may become negative."""
    width, height = IMAGE_SIZE
    limit = np.array([width - 1.0, height - 1.0])
    return np.concatenate((np.maximum(box[:2], 0.0), np.minimum(box[2:], limit)))


def truncation(box: Array) -> float:
    """Return the share of an image box that is outside the image."""
    inside = np.maximum(clipped(box)[2:] - clipped(box)[:2], 0.0)
    return float(1 - inside.prod() / max((box[2:] - box[:2]).prod(), 1e-9))


def occlusion_level(visible: float) -> int:
    """Return KITTI's level of a visible share: 0 visible, 1 partly occluded, 2 largely occluded, 3 unknown."""
    return int(np.sum(visible < np.array(_OCCLUSION_SHARES)))


def label(snapshot: Snapshot, caster: Caster, points: NDArray[np.integer]) -> KittiObjects:
    """Label the objects of a frame.

    Objects that an annotator could see but that have too few returns or are too far become DontCare regions.

    Args:
        snapshot: The scene in the LiDAR frame.
        caster: Its mesh, prepared.
        points: ``(K,)`` returns of each object within the image.
    """
    rows, regions = [], []
    for index, mesh in enumerate(snapshot.meshes):
        box = image_box(mesh)
        if box is None or (clipped(box)[2:] - clipped(box)[:2] < _MIN_PIXELS).any():
            continue
        hidden = truncation(box)
        if hidden > _MAX_TRUNCATION:
            continue
        visible = visible_share(snapshot, caster, index, clipped(box))
        outline = extent(mesh, snapshot.headings[index], snapshot.objects[index].margin)
        large = clipped(box)[3] - clipped(box)[1] >= _MIN_LABEL_HEIGHT
        if large and points[index] >= MIN_POINTS and np.hypot(*outline.location[::2]) <= _MAX_DISTANCE:
            alpha = _wrapped(outline.rotation_y - np.arctan2(outline.location[0], outline.location[2]))
            name = snapshot.objects[index].name
            rows.append((name, hidden, occlusion_level(visible), alpha, clipped(box), outline))
        elif visible >= _DONT_CARE_SHARE:
            regions.append(clipped(box))
    return _columns(rows, _united(regions))


def _columns(rows: list[tuple], regions: list[Array]) -> KittiObjects:
    low, far, angle = _FILLER
    count = len(rows) + len(regions)
    return KittiObjects(
        names=np.array([row[0] for row in rows] + [DONT_CARE] * len(regions), dtype=np.str_),
        truncated=np.array([round(row[1], 2) for row in rows] + [-1.0] * len(regions)),
        occluded=np.array([row[2] for row in rows] + [-1] * len(regions), dtype=np.int64),
        alpha=np.array([row[3] for row in rows] + [angle] * len(regions)),
        bbox=np.array([row[4] for row in rows] + regions).reshape(-1, 4),
        dimensions=np.array([row[5].dimensions for row in rows] + [[low] * 3] * len(regions)).reshape(-1, 3),
        location=np.array([row[5].location for row in rows] + [[far] * 3] * len(regions)).reshape(-1, 3),
        rotation_y=np.array([row[5].rotation_y for row in rows] + [angle] * len(regions)),
        scores=np.full(count, np.nan),
    )


def _united(regions: list[Array]) -> list[Array]:
    """Unite regions that overlap, as annotators mark far groups with one box."""
    united: list[Array] = []
    for region in regions:
        box = region
        while True:
            touching = [other for other in united if (box[:2] < other[2:]).all() and (other[:2] < box[2:]).all()]
            if not touching:
                break
            united = [other for other in united if not any(other is found for found in touching)]
            group = np.array([box, *touching])
            box = np.concatenate((group[:, :2].min(axis=0), group[:, 2:].max(axis=0)))
        united.append(box)
    return united


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
