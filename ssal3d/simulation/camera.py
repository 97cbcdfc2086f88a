"""The camera that labels refer to: one calibration for all frames, as KITTI's recording platform has it.

The intrinsics are those of KITTI's day 2011-09-26, so that converters find the image size; the small rotations between
LiDAR and camera are our own, of the same kind.
"""

import numpy as np
from numpy.typing import NDArray

from ssal3d.simulation.linear import apply

Array = NDArray[np.floating]

IMAGE_SIZE = (1242, 375)  # pixels: width, height
_FOCAL = 721.5377  # pixels
_CENTRE = (609.5593, 172.854)  # pixels
_BASELINES = (0.0, -387.5744, 44.85728, -339.5242)  # pixel metres: P[0, 3] of cameras 0 ... 3
# Degrees: roll, pitch and yaw of the camera against the LiDAR. As in KITTI the LiDAR looks a little down and the
# camera is level.
_MOUNT = (0.10, 0.40, 0.40)
_RECTIFY = (0.25, -0.43, -0.56)  # degrees: about x, y, z of camera 0
_OFFSET = (-0.004, -0.076, -0.272)  # m: LiDAR's origin in the camera frame
_AXES = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])  # LiDAR x, y, z to camera z, -x, -y


def _rotation(degrees: tuple[float, float, float]) -> Array:
    (a, b, c), eye = np.radians(degrees), np.eye(3)
    turns = []
    for angle, (i, j) in zip((a, b, c), ((1, 2), (2, 0), (0, 1))):
        turn = eye.copy()
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        turns.append(turn)
    return turns[2] @ turns[1] @ turns[0]


def _matrices() -> dict[str, Array]:
    matrices = {}
    for camera, shift in enumerate(_BASELINES):
        matrices[f'P{camera}'] = np.array([[_FOCAL, 0, _CENTRE[0], shift], [0, _FOCAL, _CENTRE[1], 0], [0, 0, 1, 0]])
    rectify = _rotation(_RECTIFY)
    mounted = _AXES @ _rotation(_MOUNT)
    matrices['R0_rect'] = rectify
    matrices['Tr_velo_to_cam'] = np.column_stack((rectify.T @ mounted, rectify.T @ np.array(_OFFSET)))
    matrices['Tr_imu_to_velo'] = np.column_stack((_rotation((0.85, 0.12, -0.04)), (-0.81, 0.32, -0.80)))
    return {  # exactly what the file says
        name: np.array([float(f'{value:.12e}') for value in matrix.flat]).reshape(matrix.shape)
        for name, matrix in matrices.items()
    }


MATRICES = _matrices()
ROTATION = MATRICES['R0_rect'] @ MATRICES['Tr_velo_to_cam'][:, :3]  # LiDAR to rectified camera frame
TRANSLATION = MATRICES['R0_rect'] @ MATRICES['Tr_velo_to_cam'][:, 3]
PROJECTION = MATRICES['P2']
# Where the left colour camera is in the LiDAR frame, in metres.
CAMERA_CENTRE = ROTATION.T @ (-np.linalg.solve(PROJECTION[:, :3], PROJECTION[:, 3]) - TRANSLATION)


def calibration_text() -> str:
    """Return the calibration file of every frame."""
    lines = (f'{name}: ' + ' '.join(f'{value:.12e}' for value in matrix.flat) for name, matrix in MATRICES.items())
    return '\n'.join(lines) + '\n\n'


def to_camera(points: Array) -> Array:
    """Return ``(N, 3)`` LiDAR points in the rectified camera frame (x right, y down, z forward)."""
    return apply(np.column_stack((ROTATION, TRANSLATION)), points)


def project(points: Array) -> Array:
    """Project ``(N, 3)`` points of the rectified camera frame, before the camera, to ``(N, 2)`` pixels."""
    scaled = apply(PROJECTION, points)
    return scaled[:, :2] / scaled[:, 2:]


def directions_of(pixels: Array) -> Array:
    """Return ``(N, 3)`` unit directions in the LiDAR frame in which the left colour camera sees ``(N, 2)`` pixels."""
    rays = apply(ROTATION.T, np.column_stack(((pixels - np.array(_CENTRE)) / _FOCAL, np.ones(len(pixels)))))
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def within_view(directions: Array, margin: float) -> NDArray[np.bool_]:
    """Find the ``(N, 3)`` LiDAR directions that the image shows, or miss it by no more than ``margin`` degrees."""
    right, down, ahead = apply(ROTATION, directions).T
    across, along = np.degrees(np.arctan2(right, ahead)), np.degrees(np.arctan2(down, np.hypot(ahead, right)))
    width, height = IMAGE_SIZE
    left, rightmost = np.degrees(np.arctan(np.array([-_CENTRE[0], width - _CENTRE[0]]) / _FOCAL))
    top, bottom = (edge - _CENTRE[1] for edge in (0.0, float(height)))
    # The image's upper and lower edges bend towards the horizon off the axis: pixels per metre grow with 1 / cos.
    bend = np.cos(np.radians(np.clip(across, left, rightmost)))
    highest, lowest = np.degrees(np.arctan(top / _FOCAL * bend)), np.degrees(np.arctan(bottom / _FOCAL * bend))
    return (
        (across > left - margin)
        & (across < rightmost + margin)
        & (along > highest - margin)
        & (along < lowest + margin)
    )
