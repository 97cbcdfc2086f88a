"""A KITTI frame as MMDetection3D 1.4 wants it in an annotation file."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.class_names import unknown_class
from ssal3d.data.kitti_format import (
    CLASSES,
    DONT_CARE,
    NOMINAL_CAMERA,
    Array,
    Calibration,
    info_boxes_to_lidar,
    lidar_boxes_to_info,
    transform,
)
from ssal3d.data.kitti_objects import (
    MAX_OCCLUSION,
    MAX_TRUNCATION,
    MIN_HEIGHT,
    KittiObjects,
    check_boxes,
    concatenate,
)
from ssal3d.errors import UserError
from ssal3d.ops.boxes import points_per_box

CATEGORIES = {**{name: label for label, name in enumerate(CLASSES)}, DONT_CARE: -1}
NAMES = {label: name for name, label in CATEGORIES.items() if label >= 0}
METAINFO = {'categories': CATEGORIES, 'dataset': 'kitti', 'info_version': '1.1'}
NUM_POINT_FEATURES = 4


def frame_info(
    frame_id: str,
    num_points: int,
    *,
    calibration: Calibration | None = None,
    image_size: tuple[int, int] | None = None,
    has_image: bool = False,
    plane: list[float] | None = None,
    instances: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Build one entry of ``data_list``.

    Args:
        frame_id: File stem.
        num_points: In the scan that the detector reads.
        calibration: None for a LiDAR-only frame.
        image_size: (width, height) in pixels, given with the calibration.
        has_image: Whether there is an image file.
        plane: Road plane in the camera frame.
        instances: What `instance_infos` returns; None for a frame that nobody labelled, which gets no such key.
    """
    info: dict[str, Any] = {'sample_idx': int(frame_id) if frame_id.isdecimal() else frame_id}
    lidar: dict[str, Any] = {
        'num_pts_feats': NUM_POINT_FEATURES,
        'lidar_path': f'{frame_id}.bin',
        'num_points': num_points,
    }
    if calibration is not None:
        assert image_size is not None
        info['images'] = _images(calibration, image_size)
        if has_image:
            info['images']['CAM2']['img_path'] = f'{frame_id}.png'
        for name in ('Tr_velo_to_cam', 'Tr_imu_to_velo'):
            if name in calibration.matrices:
                lidar[name] = _single(calibration.matrices[name]).tolist()
    info['lidar_points'] = lidar
    if plane is not None:
        info['plane'] = plane
    if instances is not None:
        info['instances'] = instances
    return info


def instance_infos(objects: KittiObjects, calibration: Calibration | None, points: Array) -> list[dict[str, Any]]:
    """Build a labelled frame's ``instances``.

    Args:
        objects: All lines of the label file, in the camera frame. DontCare becomes label -1.
        calibration: Of the frame; without one the camera is a nominal one, `NOMINAL_CAMERA`, and the entries hold
            nothing of an image: ``bbox_3d`` is a gravity-centred box in the LiDAR frame, and DontCare is left out.
        points: ``(N, >=3)`` points in the camera view; they are counted in every box.
    """
    cared = objects.names != DONT_CARE
    if calibration is None:
        objects, cared = objects[cared], cared[cared]
    height, width, length = objects.dimensions.T
    boxes = np.column_stack((objects.location, length, height, width, objects.rotation_y))
    lidar_boxes = info_boxes_to_lidar(boxes, NOMINAL_CAMERA if calibration is None else calibration.lidar_to_camera)
    num_points = np.full(len(objects), -1)
    num_points[cared] = points_per_box(points, lidar_boxes[cared])
    labels = [CATEGORIES[name] for name in objects.names]
    columns = {
        'bbox_label': labels,
        'bbox_3d': lidar_boxes if calibration is None else boxes,
        'bbox_label_3d': labels,
        'num_lidar_pts': num_points,
        'score': np.where(np.isnan(objects.scores), 0.0, objects.scores),
        'index': np.where(cared, np.cumsum(cared) - 1, -1),
        'group_id': np.arange(len(objects)),
    }
    if calibration is not None:
        columns = {'bbox': objects.bbox, **columns, **_seen_by_camera(objects, calibration)}
    rows = zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def in_camera_frame(objects: KittiObjects, calibration: Calibration | None, bottom: bool) -> KittiObjects:
    """Turn labels that were read from a file in the LiDAR frame into labels in the camera frame.

    Args:
        objects: ``location`` is in the LiDAR frame, ``rotation_y`` counter-clockwise from its x axis.
        calibration: Of the frame; None for the nominal camera.
        bottom: Whether ``location`` is the centre of the bottom face, not of the box.
    """
    matrix = NOMINAL_CAMERA if calibration is None else calibration.lidar_to_camera
    height, width, length = objects.dimensions.T
    x, y, z = objects.location.T
    boxes = np.column_stack((x, y, z + height / 2 * bottom, length, width, height, objects.rotation_y))
    turned = lidar_boxes_to_info(boxes, matrix)
    return replace(objects, location=turned[:, :3], rotation_y=turned[:, 6])


def difficulty(objects: KittiObjects) -> NDArray[np.int64]:
    """Return KITTI's difficulty of each object: 0 easy, 1 moderate, 2 hard, -1 none of them.

    An object without image box is tall enough for every difficulty.
    """
    height = np.where(objects.has_image_box, objects.bbox[:, 3] - objects.bbox[:, 1], np.inf)
    result = np.full(len(objects), -1)
    for level in (2, 1, 0):
        hidden = (objects.occluded > MAX_OCCLUSION[level]) | (objects.truncated > MAX_TRUNCATION[level])
        result[(height > MIN_HEIGHT[level]) & ~hidden] = level
    return result


def check_objects(objects: KittiObjects, source: object) -> None:
    """Check what the parser cannot know: class names and box sizes.

    Raises:
        UserError: If a name is not one of KITTI's, or an object other than DontCare has a size <= 0.
    """
    for name in objects.names:
        if name not in CATEGORIES:
            error = unknown_class(name, CATEGORIES)
            raise UserError(f'{source}: {error}; for classes of your own see `ssal3d create-data folder`')
    check_boxes(concatenate([objects]), [str(source)], placeholders=False)


def _seen_by_camera(objects: KittiObjects, calibration: Calibration) -> dict[str, Any]:
    """Return the columns of `instance_infos` that only a camera gives."""
    centres = objects.location - np.outer(objects.dimensions[:, 0] / 2, (0, 1, 0))
    pixels = transform(calibration.matrices['P2'], centres)
    with np.errstate(divide='ignore', invalid='ignore'):
        pixels[:, :2] /= pixels[:, 2:]
    return {
        'depth': pixels[:, 2],
        'center_2d': pixels[:, :2],
        'difficulty': difficulty(objects),
        'truncated': objects.truncated,
        'occluded': objects.occluded,
        'alpha': objects.alpha,
    }


def _images(calibration: Calibration, image_size: tuple[int, int]) -> dict[str, Any]:
    # Rounded to single precision, because that is what stock annotation files hold.
    rotation, lidar_to_camera = _single(calibration.matrices['R0_rect']), _single_lidar_to_camera(calibration)
    images: dict[str, Any] = {}
    for camera in range(4):
        projection = calibration.matrices.get(f'P{camera}')
        if projection is not None:
            to_image = projection @ lidar_to_camera
            images[f'CAM{camera}'] = {'cam2img': projection.tolist(), 'lidar2img': to_image.tolist()}
    width, height = image_size
    images['CAM2'] |= {'height': height, 'width': width, 'lidar2cam': lidar_to_camera.tolist()}
    images['R0_rect'] = rotation.tolist()
    return images


def _single_lidar_to_camera(calibration: Calibration) -> NDArray[np.float32]:
    return _single(calibration.matrices['R0_rect']) @ _single(calibration.matrices['Tr_velo_to_cam'])


def _single(matrix: Array) -> NDArray[np.float32]:
    return matrix.astype(np.float32)
