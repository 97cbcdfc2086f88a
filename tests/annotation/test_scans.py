"""The points that annotators get: four finite numbers each, whatever the file, or one line that says why not."""

import numpy as np
import pytest

from ssal3d.annotation.model import LabelFrame
from ssal3d.annotation.pcd import write_pcd
from ssal3d.annotation.scans import frame_points
from ssal3d.errors import UserError

CLOUD = np.random.default_rng(0).uniform((-20, -20, -2, 0, 0), (20, 20, 1, 1, 1), (300, 5)).astype(np.float32)


def frame(path, **more):
    return LabelFrame('7', scan=path, **more)


@pytest.mark.parametrize('columns', [4, 5])
def test_flat_scans_give_their_first_four_values(tmp_path, columns):
    CLOUD[:, :columns].tofile(tmp_path / '7.bin')
    np.testing.assert_array_equal(frame_points(frame(tmp_path / '7.bin', load_dim=columns)), CLOUD[:, :4])


def test_points_without_intensity_get_0_and_other_types_become_float32(tmp_path):
    np.save(tmp_path / '7.npy', CLOUD[:, :3].astype(np.float64))
    points = frame_points(frame(tmp_path / '7.npy'))
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, np.column_stack((CLOUD[:, :3], np.zeros(300))))


def test_columns_are_found_by_their_names(tmp_path):
    rows = np.zeros(300, dtype=[('ring', 'u2'), ('z', 'f4'), ('y', 'f4'), ('x', 'f8'), ('reflectivity', 'u1')])
    for name, column in (('x', 0), ('y', 1), ('z', 2)):
        rows[name] = CLOUD[:, column]
    rows['reflectivity'] = range(44, 344) % np.uint16(256)
    np.save(tmp_path / '7.npy', rows)
    np.testing.assert_array_equal(
        frame_points(frame(tmp_path / '7.npy')), np.column_stack((CLOUD[:, :3], rows['reflectivity']))
    )


def test_clouds_of_other_formats(tmp_path):
    pytest.importorskip('pypcd4')
    write_pcd(tmp_path / '7.pcd', CLOUD[:, :4])
    np.testing.assert_array_equal(frame_points(frame(tmp_path / '7.pcd')), CLOUD[:, :4])


def test_points_that_are_no_numbers_are_left_out(tmp_path):
    cloud = CLOUD[:, :4].copy()
    cloud[3, 1] = np.nan
    np.save(tmp_path / '7.npy', cloud)
    np.testing.assert_array_equal(frame_points(frame(tmp_path / '7.npy')), np.delete(cloud, 3, axis=0))


@pytest.mark.parametrize(
    'array', [CLOUD[:, :2], CLOUD[0], np.array([['a', 'b', 'c']])], ids=['2 columns', 'flat', 'texts']
)
def test_arrays_that_are_no_clouds_are_refused(tmp_path, array):
    np.save(tmp_path / '7.npy', array)
    with pytest.raises(UserError, match=r'7\.npy: found .*, expected (at least x, y and z|\(N, values\) numbers)'):
        frame_points(frame(tmp_path / '7.npy'))


def test_a_scan_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r'7\.npy: no such file; copy the scan again or leave the frame out'):
        frame_points(frame(tmp_path / '7.npy'))
    with pytest.raises(UserError, match='frame 7 has no scan; give the folder of the scans'):
        frame_points(LabelFrame('7'))
