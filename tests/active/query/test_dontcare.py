import numpy as np
import pytest

from ssal3d.active.query.dontcare import covered, frames_to_exclude, image_rectangles
from ssal3d.active.sampler import Detections
from ssal3d.errors import UserError
from ssal3d.predictions.table import Ragged
from tests.helpers.active_pools import box, make_pool

# A camera that looks along x: u = 100 - 100 y / x, v = 50 - 100 z / x.
CAMERA = np.array([[100, -100, 0, 0], [50, 0, -100, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float32)
SIZE = np.array([100, 200], dtype=np.float32)  # height, width


def rectangle(box_3d):
    return image_rectangles(np.array([box_3d], dtype=np.float64), CAMERA[None], SIZE[None])[0]


def test_rectangle_around_the_corners_is_clipped_to_the_image():
    np.testing.assert_allclose(rectangle([11, 0, 0, 2, 2, 1, 0]), [90, 45, 110, 55])
    np.testing.assert_allclose(rectangle([11, 10, 0, 2, 2, 1, 0]), [0, 45, 25, 55])
    left, top, right, bottom = rectangle([11, 30, 0, 2, 2, 1, 0])
    assert (right - left) * (bottom - top) == 0


def test_boxes_behind_the_camera_have_no_area_and_those_beside_it_are_finite():
    left, top, right, bottom = rectangle([-11, 0, 0, 2, 2, 1, 0])
    assert max(right - left, 0) * max(bottom - top, 0) == 0
    beside = rectangle([0.5, 3, 0, 4, 2, 1, 0])
    assert np.isfinite(beside).all()
    assert (beside >= 0).all()
    assert image_rectangles(np.zeros((0, 7)), np.zeros((0, 4, 4)), np.zeros((0, 2))).shape == (0, 4)


def test_a_box_is_covered_from_half_its_area_by_one_region():
    regions = Ragged(np.array([[0, 0, 10, 10], [20, 0, 30, 10], [30, 0, 34, 10]], dtype=float), np.array([0, 1, 3, 3]))
    rectangles = np.array(
        [[5, 0, 15, 10], [5.1, 0, 15.1, 10], [24, 0, 36, 10], [20, 0, 30, 10], [0, 0, 9, 9], [3, 3, 3, 9]], dtype=float
    )
    frames = np.array([0, 0, 1, 1, 2, 0])
    assert covered(rectangles, frames, regions).tolist() == [True, False, True, True, False, False]
    # no single region holds half of it, though both together do
    assert covered(np.array([[26.0, 0, 38, 10]]), np.array([1]), regions).tolist() == [False]


def pool_of(inside: dict[str, int]):
    """Frames with some boxes at image position (90..110, 45..55) and one elsewhere."""
    there = [[11, 0, 0, 2, 2, 1, 0]]
    frames = {name: [box(box=there[0])] * count + [box(box=[11, -8, 0, 2, 2, 1, 0])] for name, count in inside.items()}
    pool = make_pool(frames)
    pool.fields['lidar2img'][:] = CAMERA.reshape(1, 16)
    return pool, Detections.of(pool)


def test_the_paper_excludes_more_than_two_covered_boxes_and_the_code_any_region():
    pool, detections = pool_of({'a': 2, 'b': 3, 'c': 5, 'd': 4})
    here, elsewhere = [80, 40, 120, 60], [0, 0, 20, 20]
    regions = {'a': [here], 'b': [here], 'c': [elsewhere], 'z': [here]}
    assert frames_to_exclude(pool, detections, regions, 'paper').tolist() == [False, True, False, False]
    assert frames_to_exclude(pool, detections, regions, 'frame').tolist() == [True, True, True, False]
    assert frames_to_exclude(pool, detections, regions, 'none').tolist() == [False] * 4
    assert frames_to_exclude(pool, detections, {}, 'paper').tolist() == [False] * 4
    assert frames_to_exclude(pool, detections, {'a': []}, 'frame').tolist() == [False] * 4


def test_a_box_in_two_regions_counts_once():
    pool, detections = pool_of({'a': 2})
    assert frames_to_exclude(pool, detections, {'a': [[80, 40, 120, 60]] * 3}, 'paper').tolist() == [False]


@pytest.mark.parametrize('wrong', [[[1, 2, 3]], [1, 2, 3, 4], 'all', [[1, 2, 3, 'x']], 7])
def test_malformed_regions_name_the_frame(wrong):
    pool, detections = pool_of({'a': 3})
    with pytest.raises(UserError, match=r'frame a has .* expected a list of \[x1, y1, x2, y2\]'):
        frames_to_exclude(pool, detections, {'a': wrong}, 'paper')


def test_projection_columns_are_asked_for_by_name():
    pool, detections = pool_of({'a': 3})
    del pool.fields['lidar2img']
    with pytest.raises(UserError, match="'lidar2img' is missing"):
        frames_to_exclude(pool, detections, {'a': [[0, 0, 1, 1]]}, 'paper')


def read_kitti(folder, frame_id):
    """Return the Car, Pedestrian and Cyclist boxes of a KITTI label file in the LiDAR frame, their 2D boxes and P."""
    lines = (
        line.split(':')
        for line in (folder / 'training' / 'calib' / f'{frame_id}.txt').read_text().splitlines()
        if ':' in line
    )
    calibration = {name: np.array(values.split(), dtype=np.float64) for name, values in lines}
    rectify, to_camera = np.eye(4), np.eye(4)
    rectify[:3, :3] = calibration['R0_rect'].reshape(3, 3)
    to_camera[:3] = calibration['Tr_velo_to_cam'].reshape(3, 4)
    camera = np.vstack((calibration['P2'].reshape(3, 4), [0, 0, 0, 1]))
    boxes, rectangles = [], []
    for line in (folder / 'training' / 'label_2' / f'{frame_id}.txt').read_text().splitlines():
        name, truncated, _, _, *numbers = line.split()
        if name in ('Car', 'Pedestrian', 'Cyclist') and float(truncated) == 0:
            left, top, right, bottom, height, width, length, x, y, z, turn = map(float, numbers)
            centre = np.linalg.inv(rectify @ to_camera) @ [x, y - height / 2, z, 1]
            boxes.append([*centre[:3], length, width, height, -turn - np.pi / 2])
            rectangles.append([left, top, right, bottom])
    return np.array(boxes).reshape(-1, 7), np.array(rectangles).reshape(-1, 4), camera @ rectify @ to_camera


def test_rectangles_are_those_that_kitti_annotated(kitti_labels):
    overlaps = []
    for number in range(200):
        boxes, annotated, lidar2img = read_kitti(kitti_labels, f'{number:06d}')
        projection = np.tile(lidar2img, (len(boxes), 1, 1))
        found = image_rectangles(boxes, projection, np.tile([375, 1242], (len(boxes), 1)))
        shared = np.minimum(found[:, 2:], annotated[:, 2:]) - np.maximum(found[:, :2], annotated[:, :2])
        areas = [(part[:, 2:] - part[:, :2]).prod(axis=1) for part in (found, annotated)]
        shared = shared.clip(0).prod(axis=1)
        overlaps.extend(shared / (sum(areas) - shared))
    assert len(overlaps) > 500
    assert np.median(overlaps) > 0.98
    assert np.mean(np.array(overlaps) > 0.5) > 0.99  # people were drawn around in the image, not projected
