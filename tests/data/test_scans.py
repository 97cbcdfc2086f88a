import numpy as np
import pytest

from ssal3d.data.scans import check_plausible, check_scan_size, read_scan
from ssal3d.errors import UserError


def test_a_scan_is_read_as_written(tmp_path):
    points = np.arange(40, dtype=np.float32).reshape(-1, 5)
    points.tofile(tmp_path / 'a.bin')
    found = read_scan(tmp_path / 'a.bin', num_features=5)
    np.testing.assert_array_equal(found, points)
    found[0] = 0  # a copy, not a view of read-only bytes
    with pytest.raises(UserError, match=r'b\.bin: no such file'):
        read_scan(tmp_path / 'b.bin')


def test_sizes():
    check_scan_size('a.bin', 1600, 4, 100)
    for size, expected, message in (
        (0, None, r'a\.bin: found an empty file'),
        (1601, None, r'a\.bin: found 1601 bytes, expected a multiple of 16'),
        (1584, 100, r'a\.bin: found 99 points, expected 100'),
        (1616, 100, r'a\.bin: found 101 points, expected 100'),
    ):
        with pytest.raises(UserError, match=message):
            check_scan_size('a.bin', size, 4, expected)


def test_a_share_of_one_in_a_hundred_is_the_limit():
    points = np.zeros((200, 4), np.float32)
    points[:2, 3] = -1
    assert check_plausible(points, 'a.bin').all()
    points[:3, 3] = -1
    with pytest.raises(UserError, match=r'a\.bin: 2 % of the points have an intensity outside \[0, 255\]'):
        check_plausible(points, 'a.bin')
    points = np.zeros((200, 3), np.float32)
    points[:3, 1] = -300.5
    with pytest.raises(UserError, match=r'2 % of the points lie beyond 300 m'):
        check_plausible(points, 'a.bin')


def test_numbers_that_are_none():
    points = np.zeros((4, 4), np.float32)
    points[0, 3], points[2, 0] = np.nan, -np.inf
    assert check_plausible(points, 'a.bin').tolist() == [False, True, False, True]
    points[:] = np.inf
    with pytest.raises(UserError, match='none of 4 points is finite'):
        check_plausible(points, 'a.bin')


def test_real_scans_with_their_known_defects_are_plausible(kitti_mini):
    for frame in (
        '000000',
        '000035',
        '000060',
        '000080',
        '000134',
        '900000',
        '950041',
    ):  # intensity 0; camera view only
        path = kitti_mini / 'training' / 'velodyne' / f'{frame}.bin'
        assert check_plausible(read_scan(path), path).all()


@pytest.mark.parametrize('features', [3, 5, 6])
def test_real_scans_read_with_a_wrong_number_of_values_are_refused(kitti_mini, tmp_path, features):
    points = read_scan(kitti_mini / 'training' / 'velodyne' / '000000.bin')
    extra = np.tile(np.float32([0.1, 33]), (len(points), 1))
    wide = np.column_stack((points, extra))[:, :features]  # ..., elongation, ring
    wide[: len(wide) // 4 * 4].astype(np.float32).tofile(tmp_path / 'a.bin')
    with pytest.raises(UserError, match='another number of values a point'):
        check_plausible(read_scan(tmp_path / 'a.bin'), 'a.bin')
