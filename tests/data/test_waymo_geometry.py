"""Range images to points: against the data set's own functions, and by directions that anybody can check."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ssal3d.data.waymo_geometry import points_of_range_image, rotations, transformed, uniform_inclinations

IMAGE = np.array([[10.0, 20, 30, 40], [5, 6, 7, 8]])
EXTRINSIC = np.array([[0.6, -0.8, 0, 1.5], [0.8, 0.6, 0, -0.5], [0, 0, 1, 2], [0, 0, 0, 1]])
VEHICLE = np.array([[0.0, -1, 0, 100], [1, 0, 0, 50], [0, 0, 1, 3], [0, 0, 0, 1]])
POSES = np.zeros((2, 4, 6))
POSES[..., 0], POSES[..., 1], POSES[..., 2] = 0.01 * np.arange(4), -0.02, 1.5 + 0.05 * np.arange(4)
POSES[..., 3:] = np.stack((100 + np.arange(4), np.full(4, 50), np.full(4, 3)), axis=-1)
# What extract_point_cloud_from_range_image of the data set's package (waymo_open_dataset/utils/range_image_utils.py)
# returns for these arrays in double precision, with compute_inclination([-0.4, 0.2], 2) reversed: without poses, with.
OFFICIAL = [
    [[-5.562230818, 6.562230818, 2.499791693], [15.624461637, 13.624461637, 2.999583385],
     [22.686692455, -21.686692455, 3.499375078], [-26.748923273, -28.748923273, 3.999166771],
     [-1.925622719, 2.925622719, 0.762980204], [5.610747263, 3.610747263, 0.515576244],
     [6.295871806, -5.295871806, 0.268172285], [-3.98099635, -5.98099635, 0.020768326]],
    [[-5.132861157, 6.942706626, 2.388054551], [15.837943602, 12.267306642, 3.447517039],
     [23.246372364, -23.082544662, 3.51806092], [-24.439125217, -33.886417585, 2.599459161],
     [-1.728684861, 3.055559265, 0.724317726], [5.672356025, 2.488209659, 0.663754473],
     [6.443448704, -7.114210815, 0.288084879], [-3.491501539, -9.274850242, -0.238226888]],
]  # fmt: skip


def points(image=IMAGE, extrinsic=EXTRINSIC, pose=None, low=-0.4, high=0.2):
    inclinations = uniform_inclinations(low, high, len(image))[::-1]
    return points_of_range_image(image, image > 0, inclinations, extrinsic, pose, VEHICLE)


def test_the_official_functions_give_the_same_points():
    np.testing.assert_allclose(points(), OFFICIAL[0], atol=1e-8)
    np.testing.assert_allclose(points(pose=POSES), OFFICIAL[1], atol=1e-8)


def test_columns_go_clockwise_from_the_back_and_rows_from_the_top():
    forward = points(np.full((2, 1000), 10.0), np.eye(4))
    upper, lower = forward[:1000], forward[1000:]
    assert (upper[:, 2] > lower[:, 2]).all()
    assert (upper[0, 0] < -9, 0 < upper[0, 1] < 0.1) == (True, True)  # first column: behind, just to the left
    assert (abs(upper[250, 0]) < 0.1, upper[250, 1] > 9) == (True, True)  # after a quarter: on the left
    assert upper[500, 0] > 9  # in the middle: ahead
    assert upper[750, 1] < -9  # on the right


def test_the_azimuth_is_that_of_the_vehicle_however_the_lidar_is_turned():
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler('z', 2.0).as_matrix()
    np.testing.assert_allclose(points(extrinsic=turned), points(extrinsic=np.eye(4)), atol=1e-12)


def test_only_the_wanted_pixels_become_points():
    image = IMAGE.copy()
    image[0, 2] = image[1, 0] = 0
    assert len(points(image)) == 6
    np.testing.assert_allclose(points(image)[2], points()[3])
    assert points(np.zeros((2, 4))).shape == (0, 3)


def test_rotations_are_roll_then_pitch_then_yaw():
    angles = np.random.default_rng(0).uniform(-3, 3, (50, 3))
    np.testing.assert_allclose(rotations(angles), Rotation.from_euler('ZYX', angles[:, ::-1]).as_matrix(), atol=1e-12)


def test_evenly_spread_beams_are_the_middles_of_equal_parts():
    assert uniform_inclinations(-0.4, 0.4, 4) == pytest.approx([-0.3, -0.1, 0.1, 0.3])


def test_transforms_keep_double_precision():
    matrix = np.eye(4)
    matrix[:3, 3] = 1e6, 0, 0
    assert transformed(np.array([[1e-3, 0, 0]], np.float32), matrix)[0, 0] == pytest.approx(1e6 + 1e-3, abs=1e-6)
