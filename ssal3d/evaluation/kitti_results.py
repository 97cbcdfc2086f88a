"""From MMDetection3D's frames to KITTI objects: predicted LiDAR boxes and annotated ones, in the camera frame.

A frame without a camera gets a nominal one at the LiDAR: BEV and 3D overlaps do not depend on where it stands. Its
objects have no image box (NaN), so no image height excludes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.kitti_format import DONT_CARE, NOMINAL_CAMERA, camera_turn, transform
from ssal3d.data.kitti_objects import KittiObjects
from ssal3d.errors import UserError
from ssal3d.ops.box_geometry import corners_3d

Array = NDArray[np.floating]

NEAREST = 0.1  # metres; what is closer to the camera's plane cannot be projected
_EDGES = np.array(
    [(i + level, (i + 1) % 4 + level) for level in (0, 4) for i in range(4)] + [(i, i + 4) for i in range(4)]
)


@dataclass(frozen=True)
class CameraView:
    """How a frame's camera sees.

    Attributes:
        lidar_to_camera: ``(4, 4)`` rigid.
        projection: ``(4, 4)`` camera frame to image, in pixels; None if the frame has no image.
        size: (width, height) of the image in pixels; infinite if unknown.
    """

    lidar_to_camera: Array
    projection: Array | None
    size: tuple[float, float]


def camera_view(info: Mapping[str, Any], camera: str = 'CAM2') -> CameraView | None:
    """Return the view of a frame of an annotation file; None for a frame without that camera."""
    image = info.get('images', {}).get(camera, {})
    if image.get('lidar2cam') is None:
        return None
    to_camera = _homogeneous(image['lidar2cam'])
    if image.get('cam2img') is not None:
        projection = _homogeneous(image['cam2img'])
    elif image.get('lidar2img') is not None:
        projection = _homogeneous(image['lidar2img']) @ np.linalg.inv(to_camera)
    else:
        projection = None
    return CameraView(to_camera, projection, (image.get('width') or np.inf, image.get('height') or np.inf))


def detected_objects(
    boxes: Array, scores: Array, names: Sequence[str] | NDArray[np.str_], view: CameraView | None
) -> KittiObjects:
    """Turn a frame's predictions into KITTI detections.

    Args:
        boxes: ``(N, 7)`` gravity-centre boxes in the LiDAR frame.
        scores: ``(N,)`` confidences.
        names: ``(N,)`` class names.
        view: The frame's camera. With an image, boxes outside it are dropped, because KITTI labels only what it shows.

    Returns:
        At most N objects; image boxes are clipped to the image.
    """
    objects = camera_objects(boxes, np.asarray(names, dtype=np.str_), view)
    objects = replace(objects, scores=np.asarray(scores, dtype=np.float64))
    if view is None or view.projection is None:
        return objects
    bbox = image_boxes(objects, view.projection, view.size)
    return replace(objects, bbox=bbox)[~np.any(np.isnan(bbox), axis=1)]


def annotated_objects(info: Mapping[str, Any], names: Mapping[int, str], view: CameraView | None) -> KittiObjects:
    """Turn the instances of a frame of an annotation file into KITTI labels.

    Args:
        info: The frame. Instances have ``bbox_label``, ``bbox_3d`` and, if there is an image, ``bbox``, ``truncated``
            and ``occluded``. A missing value excludes nothing.
        names: Class names by label; a negative label is a DontCare region.
        view: The frame's camera; without one, ``bbox_3d`` is a gravity-centre box in the LiDAR frame and the stored
            ``difficulty`` (0 easy, 1 moderate, 2 hard, -1 none) decides where the object counts; at every difficulty
            if there is none either.

    Raises:
        UserError: If a label has no name.
    """
    instances = info.get('instances') or []

    def column(key: str, default: Any) -> Array:
        values = [default if row.get(key) is None else row[key] for row in instances]
        return np.array(values, dtype=np.float64).reshape(len(values), *np.shape(default))

    labels = column('bbox_label', np.nan)
    labels = np.where(np.isnan(labels), column('bbox_label_3d', -1), labels).astype(np.int64)
    names_of_boxes = np.array([_name(label, names) for label in labels.tolist()], dtype=np.str_)
    boxes = np.array([row['bbox_3d'][:7] for row in instances], dtype=np.float64).reshape(-1, 7)
    if view is None:
        # Without height and truncation, the occlusion alone decides, and its levels are those of the difficulty.
        level = column('difficulty', 0)
        return replace(
            camera_objects(boxes, names_of_boxes, None), occluded=np.where(level < 0, 3, level).astype(np.int64)
        )
    return KittiObjects(
        names=names_of_boxes,
        truncated=column('truncated', 0),
        occluded=column('occluded', 0).astype(np.int64),
        alpha=column('alpha', 0),
        bbox=column('bbox', [np.nan] * 4) if view.projection is not None else np.full((len(boxes), 4), np.nan),
        dimensions=boxes[:, [4, 5, 3]],
        location=boxes[:, :3],
        rotation_y=boxes[:, 6],
        scores=np.full(len(boxes), np.nan),
    )


def image_boxes(objects: KittiObjects, projection: Array, size: tuple[float, float]) -> Array:
    """Project 3D boxes to the image.

    Args:
        objects: N objects.
        projection: ``(4, 4)`` camera frame to image.
        size: (width, height) in pixels.

    Returns:
        ``(N, 4)`` x1, y1, x2, y2 around the part of each box that is before the camera, clipped to the pixels of the
        image; NaN for boxes outside it.
    """
    corners = corners_3d(objects.upright_boxes())[:, :, [0, 2, 1]] * (1, -1, 1)
    start, end = corners[:, _EDGES[:, 0]], corners[:, _EDGES[:, 1]]
    with np.errstate(divide='ignore', invalid='ignore'):
        share = (NEAREST - start[..., 2:]) / (end[..., 2:] - start[..., 2:])
        cuts = np.where((share > 0) & (share < 1), start + share * (end - start), np.nan)
    points = np.concatenate((np.where(corners[..., 2:] >= NEAREST, corners, np.nan), cuts), axis=1)
    scaled = transform(projection, points.reshape(-1, 3)).reshape(points.shape)
    pixels = scaled[..., :2] / scaled[..., 2:]
    low, high = (extreme.reduce(pixels, axis=1) for extreme in (np.fmin, np.fmax))  # NaN only where all points are
    low, high = (np.clip(extreme, 0, np.array(size) - 1) for extreme in (low, high))
    boxes = np.concatenate((low, high), axis=1)
    boxes[~(low < high).all(axis=1)] = np.nan
    return boxes


def _name(label: int, names: Mapping[int, str]) -> str:
    if label < 0:
        return DONT_CARE
    if label not in names:
        raise UserError(f'found the label {label}, expected one of the categories {names}; convert the data again')
    return names[label]


def camera_objects(boxes: Array, names: NDArray[np.str_], view: CameraView | None) -> KittiObjects:
    """Turn LiDAR boxes into KITTI objects without image boxes; none is dropped.

    Args:
        boxes: ``(N, 7)`` gravity-centre boxes in the LiDAR frame, m and rad.
        names: ``(N,)`` class names.
        view: The frame's camera; None puts a nominal one at the LiDAR.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    bottom = boxes[:, :3] - np.outer(boxes[:, 5] / 2, (0, 0, 1))
    to_camera = NOMINAL_CAMERA if view is None else view.lidar_to_camera
    location = transform(to_camera, bottom)
    rotation_y = _wrapped(camera_turn(to_camera) - boxes[:, 6] - np.pi / 2)
    return KittiObjects(
        names=names,
        truncated=np.full(len(boxes), -1.0),
        occluded=np.full(len(boxes), -1),
        alpha=_wrapped(rotation_y - np.arctan2(location[:, 0], location[:, 2])),
        bbox=np.full((len(boxes), 4), np.nan),
        dimensions=boxes[:, [5, 4, 3]],
        location=location,
        rotation_y=rotation_y,
        scores=np.full(len(boxes), np.nan),
    )


def _wrapped(angle: Array) -> Array:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _homogeneous(matrix: Any) -> Array:
    """Extend a matrix of up to ``(4, 4)`` to ``(4, 4)``."""
    given = np.asarray(matrix, dtype=np.float64)
    result = np.eye(4)
    result[: given.shape[0], : given.shape[1]] = given
    return result
