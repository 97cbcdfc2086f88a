import csv
import zlib

import numpy as np
import pytest
from mmdet3d.structures import Box3DMode, CameraInstance3DBoxes
from mmdet3d.structures.ops import box_np_ops

from ssal3d.data.kitti_format import (
    NOMINAL_CAMERA,
    Calibration,
    camera_boxes_to_lidar,
    camera_image_size,
    in_camera_view,
    info_boxes_to_lidar,
    lidar_boxes_to_info,
    lidar_to_camera,
    png_size,
    project,
    read_calibration,
    read_plane,
    read_split,
    require_kitti,
)
from ssal3d.data.kitti_objects import parse_objects, read_frames, read_objects
from ssal3d.data.scans import read_scan
from ssal3d.errors import UserError

SIZES_BY_DATE = {'2011_09_26': (1242, 375), '2011_09_28': (1224, 370), '2011_09_29': (1238, 374)}


@pytest.fixture
def calibration(kitti_folder) -> Calibration:
    return read_calibration(kitti_folder.path('calib', '000000'))


def test_calibration_is_read_as_written(calibration):
    assert set(calibration.matrices) == {'P0', 'P1', 'P2', 'P3', 'R0_rect', 'Tr_velo_to_cam', 'Tr_imu_to_velo'}
    assert calibration.matrices['P2'][0].tolist() == [721.5377, 0, 609.5593, 44.85728]
    # One metre ahead of the LiDAR is 0.73 m ahead of the camera, 0.08 m above it.
    np.testing.assert_allclose(lidar_to_camera(np.array([[1.0, 0, 0]]), calibration), [[0, -0.08, 0.73]])


def test_pixels_by_hand(calibration):
    pixels, depth = project(np.array([[10.0, 1.0, 0.0]]), calibration)
    x, y, z = -1.0, -0.08, 9.73
    expected_depth = z + 0.002745884
    u = (721.5377 * x + 609.5593 * z + 44.85728) / expected_depth
    v = (721.5377 * y + 172.854 * z + 0.2163791) / expected_depth
    np.testing.assert_allclose(depth, [expected_depth])
    np.testing.assert_allclose(pixels, [[u, v]])


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('R0_rect: 1 0 0', 'R0_rect: 1 0', r'line 5: malformed R0_rect, expected 9'),
        ('R0_rect: 1 0 0', 'R0_rect: 1 x 0', r'line 5: malformed R0_rect'),
        ('P2: 721.5377', 'P2: nan', r'line 3: malformed P2'),
        ('P2: 721', 'Q2: 721', r'no matrix P2'),
        ('Tr_velo_to_cam: 0 -1', 'Tr_velo_to_cam: 0 -7', r'Tr_velo_to_cam are not a rotation'),
        ('R0_rect: 1 0 0 0 1', 'R0_rect: 0 0 0 0 0', r'R0_rect are not a rotation'),
        ('R0_rect:', 'R0:', r'no matrix R0_rect; expected P2, R0_rect, Tr_velo_to_cam; restore the file$'),
    ],
)
def test_malformed_calibrations_are_named(kitti_folder, old, new, message):
    path = kitti_folder.path('calib', '000001')
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message) as error:
        read_calibration(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'R0_rect:': 'R_rect', 'Tr_velo_to_cam:': 'Tr_velo_cam', 'Tr_imu_to_velo:': 'Tr_imu_velo'},
            r'no matrix R0_rect; .*names of the tracking benchmark; write R0_rect:, Tr_velo_to_cam:',
        ),
        (
            {'R0_rect:': 'X:', 'Tr_velo_to_cam:': 'Tr:'},
            r'no matrix R0_rect; .*odometry benchmark; write Tr_velo_to_cam:',
        ),
    ],
)
def test_calibrations_of_other_benchmarks_are_recognised(kitti_folder, changes, message):
    path = kitti_folder.path('calib', '000001')
    text = path.read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_calibration(path)


def test_an_empty_or_missing_calibration_is_named(kitti_folder):
    path = kitti_folder.path('calib', '000001')
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='not a text file'):
        read_calibration(path)
    path.write_text('')
    with pytest.raises(UserError, match='no matrix P2'):
        read_calibration(path)
    with pytest.raises(UserError, match='no such file'):
        read_calibration(path.with_name('000099.txt'))


def test_boxes_match_mmdet3d_on_real_labels(kitti_mini):
    frames = sorted((kitti_mini / 'training' / 'label_2').glob('*.txt'))
    compared = 0
    for path in frames:
        objects = read_objects(path)
        objects = objects[objects.names != 'DontCare']
        calibration = read_calibration(kitti_mini / 'training' / 'calib' / path.name)
        height, width, length = objects.dimensions.T
        stock = CameraInstance3DBoxes(
            np.column_stack((objects.location, length, height, width, objects.rotation_y))
        ).convert_to(Box3DMode.LIDAR, np.linalg.inv(calibration.lidar_to_camera))
        ours = camera_boxes_to_lidar(objects, calibration)
        np.testing.assert_allclose(ours[:, :3], stock.gravity_center.numpy(), atol=2e-5)
        np.testing.assert_allclose(ours[:, 3:6], stock.dims.numpy(), atol=1e-6)
        np.testing.assert_allclose(np.cos(ours[:, 6] - stock.yaw.numpy()), 1, atol=1e-6)
        assert (np.abs(ours[:, 6]) <= np.pi).all()
        compared += len(objects)
    assert compared > 900


def test_a_box_by_hand(calibration):
    objects = parse_objects('Car 0 0 0 0 0 0 0 1.5 1.6 4.0 0.5 1.65 20.0 -1.5707963267948966', 'x')
    # 20 m ahead of the camera is 20.27 m ahead of the LiDAR, 0.5 m to the right of it; heading straight on.
    np.testing.assert_allclose(
        camera_boxes_to_lidar(objects, calibration), [[20.27, -0.5, -1.65 - 0.08 + 0.75, 4.0, 1.6, 1.5, 0.0]], atol=1e-9
    )
    assert camera_boxes_to_lidar(objects[:0], calibration).shape == (0, 7)


@pytest.mark.parametrize('degrees', [0.28, -1.9, 2.1, 40, 90, 180, -125])
def test_cameras_that_look_aside_turn_boxes_as_mmdet3d_does_when_it_is_told_to(degrees):
    """It has the whole rotation (`correct_yaw`) and leaves it out for KITTI, whose cameras are off by 0.3 degrees."""
    turn = np.radians(degrees)
    about_z = np.eye(4)
    about_z[:2, :2] = [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    matrix = NOMINAL_CAMERA @ about_z
    matrix[:3, 3] = 0.1, -0.2, 0.3
    rng = np.random.default_rng(3)
    boxes = np.column_stack((rng.uniform(-30, 30, (50, 3)), rng.uniform(1, 5, (50, 3)), rng.uniform(-3.1, 3.1, 50)))
    ours = info_boxes_to_lidar(boxes, matrix)
    stock = Box3DMode.convert(
        boxes, Box3DMode.CAM, Box3DMode.LIDAR, np.linalg.inv(matrix), correct_yaw=abs(degrees) > 2
    )
    np.testing.assert_allclose(ours[:, :2], stock[:, :2], atol=1e-6)
    np.testing.assert_allclose((ours[:, 6] - stock[:, 6] + np.pi) % (2 * np.pi), np.pi, atol=1e-6)
    np.testing.assert_allclose(lidar_boxes_to_info(ours, matrix), boxes, atol=1e-9)


@pytest.mark.parametrize('frame', ['000000', '000001', '000002', '000003', '000134', '900000'])
def test_the_camera_view_is_that_of_stock_reduced_scans(kitti_mini, frame):
    calibration = read_calibration(kitti_mini / 'training' / 'calib' / f'{frame}.txt')
    points = read_scan(kitti_mini / 'training' / 'velodyne' / f'{frame}.bin')
    width, height = size = camera_image_size(calibration)
    inside = in_camera_view(points, calibration, size)
    matrices = calibration.matrices
    stock = box_np_ops.remove_outside_points(
        points, matrices['R0_rect'], matrices['Tr_velo_to_cam'], matrices['P2'], (height, width)
    )
    np.testing.assert_array_equal(points[inside], stock)
    assert 10_000 < inside.sum() < 30_000
    # Brute force, one point at a time.
    for index in range(0, len(points), 97):
        homogeneous = matrices['Tr_velo_to_cam'] @ np.append(points[index, :3].astype(np.float64), 1)
        u, v, depth, _ = matrices['P2'] @ (matrices['R0_rect'] @ homogeneous)
        visible = 0.001 < depth < 100 and 0 < u / depth < width and 0 < v / depth < height
        assert visible == inside[index]


def test_points_behind_the_camera_are_not_in_view(calibration):
    points = np.array([[-10.0, 0, 0], [10, 0, 0], [0.27, 0, -0.08], [150, 0, 0]])
    assert in_camera_view(points, calibration, (1242, 375)).tolist() == [False, True, False, False]
    assert in_camera_view(points[:0], calibration, (1242, 375)).shape == (0,)


def test_the_image_size_is_told_by_the_recording_day(kitti_mini):
    with open(kitti_mini / 'data_card.csv') as file:
        rows = list(csv.DictReader(file))
    seen = set()
    for row in rows:
        calibration = read_calibration(kitti_mini / 'training' / 'calib' / f'{row["frame"]}.txt')
        date = next(date for date in SIZES_BY_DATE if date in row['source'])
        assert camera_image_size(calibration) == SIZES_BY_DATE[date], row['frame']
        seen.add(date)
    assert seen == set(SIZES_BY_DATE)


def test_the_image_size_agrees_with_all_official_labels(kitti_labels):
    """Objects that reach out of the image are cut at its last pixel, (width - 1, height - 1)."""
    ids = [f'{number:06d}' for number in range(7481)]
    labels = read_frames(kitti_labels / 'training' / 'label_2', ids)
    corners: dict[tuple[int, int], np.ndarray] = {}
    sizes: dict[bytes, tuple[int, int] | None] = {}
    for frame, objects in zip(ids, labels, strict=False):
        path = kitti_labels / 'training' / 'calib' / f'{frame}.txt'
        camera = path.read_bytes().splitlines()[2]
        if camera not in sizes:  # one look at each distinct camera
            sizes[camera] = camera_image_size(read_calibration(path))
        size = sizes[camera]
        assert size is not None, frame
        corner = objects.bbox[:, 2:].max(axis=0, initial=0)
        corners[size] = np.maximum(corners.get(size, corner), corner)
    assert set(corners) == {(1242, 375), (1224, 370), (1238, 374), (1241, 376)}
    for size, corner in corners.items():
        np.testing.assert_allclose(corner, np.array(size) - 1, atol=0.6)


def test_an_unknown_camera_has_no_known_size(calibration):
    assert camera_image_size(calibration) == (1242, 375)
    calibration.matrices['P2'][0, 0] = 700
    assert camera_image_size(calibration) is None


def test_png_size(tmp_path):
    header = (1224).to_bytes(4, 'big') + (370).to_bytes(4, 'big') + b'\x08\x02\x00\x00\x00'
    chunk = b'IHDR' + header
    png = b'\x89PNG\r\n\x1a\n' + (13).to_bytes(4, 'big') + chunk + zlib.crc32(chunk).to_bytes(4, 'big')
    (tmp_path / 'a.png').write_bytes(png)
    assert png_size(tmp_path / 'a.png') == (1224, 370)
    (tmp_path / 'a.png').write_bytes(b'GIF89a' + png[6:])
    with pytest.raises(UserError, match='not a PNG'):
        png_size(tmp_path / 'a.png')
    (tmp_path / 'a.png').write_bytes(b'')
    with pytest.raises(UserError, match='not a PNG'):
        png_size(tmp_path / 'a.png')


def test_planes(tmp_path):
    path = tmp_path / '000000.txt'
    assert read_plane(path) is None
    path.write_text('# Matrix\nWIDTH 4\nHEIGHT 1\n-7.05e-03 -9.99e-01 -1.57e-02 1.68e+00\n')
    assert read_plane(path) == [-7.05e-3, -0.999, -1.57e-2, 1.68]
    for broken in ('', '# Matrix\nWIDTH 4\nHEIGHT 1\n1 2 3\n', '# Matrix\nWIDTH 4\nHEIGHT 1\n1 2 3 nan\n'):
        path.write_text(broken)
        with pytest.raises(UserError, match=r'000000\.txt: no road plane on line 4'):
            read_plane(path)


def test_split_lists(tmp_path):
    path = tmp_path / 'train.txt'
    path.write_bytes(b'000003\r\n000001\r\n\r\n')
    assert read_split(path) == ['000003', '000001']
    for content, message in (
        ('', 'no frame in it'),
        ('000001\n000002\n000001\n', 'frame 000001 stands on lines 1 and 3'),
        ('../../etc/passwd\n', r'line 1.*expected a frame id'),
        ('000001 000002\n', 'expected a frame id'),
        ('000007.txt\n', r"found '000007\.txt', expected a frame id alone, such as 000007$"),
        ('image_2/000007.png label_2/000007.txt\n', 'such as 000007$'),
        ('000007 1\n', 'such as 000007$'),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            read_split(path)
    with pytest.raises(UserError, match='no such file'):
        read_split(tmp_path / 'val.txt')


def test_missing_data_says_what_to_do(tmp_path, kitti_folder):
    with pytest.raises(UserError, match=r'velodyne, label_2, calib .*ssal3d create-data kitti --root-path .*nowhere'):
        require_kitti(tmp_path / 'nowhere')
    require_kitti(kitti_folder.root)
    with pytest.raises(UserError, match=r'kitti_infos_train\.pkl.*not converted.*create-data'):
        require_kitti(kitti_folder.root, 'kitti_infos_train.pkl')
    (tmp_path / 'converted').mkdir()
    (tmp_path / 'converted' / 'kitti_infos_train.pkl').touch()
    require_kitti(tmp_path / 'converted', 'kitti_infos_train.pkl')
