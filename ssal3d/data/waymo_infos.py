"""A Waymo frame as MMDetection3D 1.4 wants it in an annotation file."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.waymo_frame import CAMERAS, POINT_FEATURES, Camera, WaymoFrame, WaymoLabels
from ssal3d.errors import UserError

# In the order of MMDetection3D's `WaymoDataset`, with the names that it uses; types as the data set numbers them.
CATEGORIES = {'Car': 0, 'Pedestrian': 1, 'Cyclist': 2}
CATEGORY_OF_TYPE = {1: 'Car', 2: 'Pedestrian', 4: 'Cyclist'}
METAINFO = {'categories': CATEGORIES, 'dataset': 'waymo', 'version': 'waymo_v1.4', 'info_version': 'mmdet3d_v1.4'}
# From a camera whose x axis looks ahead (Waymo) to one whose z axis does (KITTI, MMDetection3D).
_TO_CAMERA = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


def frame_info(frame: WaymoFrame, num_points: int) -> dict[str, Any]:
    """Build one entry of ``data_list``.

    Objects without a LiDAR point, which no detector can be taught, are not among the ``instances`` but in
    ``empty_instances``: they count as annotated boxes where the budget counts all of them.

    Args:
        frame: With labels or without.
        num_points: In its scan file.

    Raises:
        UserError: If a box has a size of 0 or numbers that are not finite.
    """
    info: dict[str, Any] = {
        'sample_idx': frame.frame_id,
        'context_name': frame.segment,
        'timestamp': frame.timestamp,
        'ego2global': frame.pose.astype(np.float32).tolist(),
        'images': {CAMERAS[camera.name]: _image(camera) for camera in frame.cameras if camera.name in CAMERAS},
        'lidar_points': {
            'lidar_path': f'{frame.frame_id}.bin',
            'num_pts_feats': POINT_FEATURES,
            'num_points': num_points,
        },
    }
    if frame.labels is not None:
        _check_boxes(frame, frame.labels)
        rows = _instances(frame.labels)
        info['instances'] = [row for row in rows if row['num_lidar_pts'] > 0]
        info['empty_instances'] = [row for row in rows if row['num_lidar_pts'] <= 0]
        info['no_label_zones'] = [zone.tolist() for zone in frame.no_label_zones]
    return info


def _instances(labels: WaymoLabels) -> list[dict[str, Any]]:
    bottom = labels.boxes - np.outer(labels.boxes[:, 5] / 2, np.eye(7)[2])
    rows: list[dict[str, Any]] = []
    for row, type_ in enumerate(labels.types.tolist()):
        if type_ in CATEGORY_OF_TYPE:  # signs are no objects to detect here
            label = CATEGORIES[CATEGORY_OF_TYPE[type_]]
            rows.append(
                {
                    'bbox_3d': bottom[row].astype(np.float32).tolist(),
                    'bbox_label_3d': label,
                    'bbox_label': label,
                    'num_lidar_pts': int(labels.num_points[row]),
                    'detection_difficulty': int(labels.levels[row]),
                    'group_id': len(rows),
                    'track_id': labels.ids[row],
                }
            )
    return rows


def _check_boxes(frame: WaymoFrame, labels: WaymoLabels) -> None:
    wrong = ~np.isfinite(labels.boxes).all(axis=1) | (labels.boxes[:, 3:6] <= 0).any(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f'frame {frame.frame_id}: object {labels.ids[row]} has the box {labels.boxes[row].tolist()}, expected finite '
            'numbers and a size above 0; fetch the file again'
        )


def _image(camera: Camera) -> dict[str, Any]:
    to_camera = _TO_CAMERA @ np.linalg.inv(camera.extrinsic)
    f_u, f_v, c_u, c_v = camera.intrinsic
    to_image: NDArray[np.float64] = np.array([[f_u, 0, c_u, 0], [0, f_v, c_v, 0], [0, 0, 1, 0]])
    width, height = camera.size
    return {
        'height': height,
        'width': width,
        'cam2img': to_image.tolist(),
        'lidar2cam': to_camera.tolist(),
        'lidar2img': (to_image @ to_camera).tolist(),
    }
