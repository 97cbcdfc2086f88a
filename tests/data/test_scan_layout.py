"""Scans that were written in another way than they are read: the likely cause is named."""

import io

import numpy as np
import pytest

from ssal3d.data.kitti_converter import convert_kitti
from ssal3d.data.scan_layout import likely_width
from ssal3d.data.scans import check_plausible, scale_intensity
from ssal3d.errors import UserError
from tests.helpers.kitti_street import boxes_of, scan_of, write_street


def columns(points, *more):
    return np.column_stack((points, *more)).astype(np.float32).tobytes()


def npy(points):
    file = io.BytesIO()
    np.save(file, points)
    return file.getvalue()


WRITERS = {
    'five values, ring': (
        lambda p: columns(p, np.arange(len(p)) % 32),
        'another number of values a point: 5 fit, 4 were',
    ),
    'five values, time': (lambda p: columns(p, np.linspace(0, 0.1, len(p))), 'another number of values a point: 5 fit'),
    'six values': (
        lambda p: columns(p, np.linspace(0, 0.1, len(p)), np.arange(len(p)) % 32),
        'another number of values a point: 6 fit',
    ),
    'three values': (lambda p: columns(p[:, :3]), 'another number of values a point: 3 fit'),
    'float64': (lambda p: p.astype(np.float64).tobytes(), 'float64 numbers, 4 a point'),
    'float64, rounded': (lambda p: np.round(p.astype(np.float64), 2).tobytes(), 'float64 numbers, 4 a point'),
    'big endian': (lambda p: p.astype('>f4').tobytes(), 'big-endian numbers'),
    'column-major': (lambda p: np.ascontiguousarray(p.T).tobytes(), 'column after column'),
    'npy': (npy, r'a NumPy file \(\.npy\) under another name'),
    'npy of float64': (lambda p: npy(p.astype(np.float64)), r'a NumPy file \(\.npy\)'),
    'pcd': (lambda p: b'# .PCD v0.7 - Point Cloud Data file format\n' + b' ' * 21 + p.tobytes(), 'a PCD file'),
    'git lfs': (lambda p: b'version https://git-lfs.github.com/spec/v1\noid sha256:0'.ljust(64), 'a Git LFS pointer'),
    'millimetres': (lambda p: columns(p[:, :3] * 1000, p[:, 3]), 'coordinates are probably in millimetres'),
    'centimetres': (lambda p: columns(p[:, :3] * 100, p[:, 3]), 'coordinates are probably in centimetres'),
}


def simulated():
    random = np.random.default_rng(0)
    return scan_of(random, boxes_of(random)[1])[:4560]


def misread(content):
    return np.frombuffer(content, np.float32).reshape(-1, 4)


@pytest.mark.parametrize('layout', WRITERS)
def test_the_true_layout_is_named(layout):
    write, cause = WRITERS[layout]
    with pytest.raises(UserError, match=rf'a\.bin: .*{cause}'):
        check_plausible(misread(write(simulated())), 'a.bin')


@pytest.mark.parametrize('layout', WRITERS)
def test_the_true_layout_of_real_scans_is_named(kitti_mini, layout):
    write, cause = WRITERS[layout]
    for frame in ('000000', '000134', '000035'):  # a whole turn, the camera's view, without intensities
        points = np.fromfile(kitti_mini / 'training' / 'velodyne' / f'{frame}.bin', np.float32).reshape(-1, 4)
        with pytest.raises(UserError, match=rf'a\.bin: .*{cause}'):
            check_plausible(misread(write(points[: len(points) // 8 * 8])), 'a.bin')


@pytest.mark.parametrize(('low', 'high'), [(0, 4000), (0, 65535), (-95, 255), (0, 1), (0, 255)])
def test_other_scales_of_intensity_are_accepted(low, high):
    points = simulated()
    points[:, 3] = low + points[:, 3] * (high - low)
    assert check_plausible(points, 'a.bin').all()


def test_the_width_of_a_scan_is_told_by_its_columns():
    points = simulated()
    wide = np.column_stack((points, np.arange(len(points)) % 64, points[:, 3] ** 2)).astype(np.float32)
    for width in range(3, 7):
        assert likely_width(wide[:, :width]) == width
        flat = np.ascontiguousarray(wide[:, :width]).reshape(-1)
        assert likely_width(flat[: len(flat) // 4 * 4].reshape(-1, 4)) == width
    assert likely_width(np.zeros((100, 4))) is None


def test_intensities_are_divided(tmp_path):
    points = simulated()
    points[:, 3] *= 4000
    scaled = scale_intensity(points, 4000, 'a.bin')
    np.testing.assert_allclose(scaled[:, 3], points[:, 3] / 4000)
    np.testing.assert_array_equal(scaled[:, :3], points[:, :3])
    with pytest.raises(
        UserError, match=r'7\d % of the points .* outside \[0, 1000\] \(from .* give another --intensity-max'
    ):
        scale_intensity(points, 1000, 'a.bin')


def test_the_converter_divides_notes_and_remembers(tmp_path):
    write_street(tmp_path, frames=3)
    for path in (tmp_path / 'training' / 'velodyne').iterdir():
        points = np.fromfile(path, np.float32).reshape(-1, 4)
        points[:, 3] *= 4000
        points.tofile(path)
    reduced = tmp_path / 'training' / 'velodyne_reduced' / '000001.bin'
    (summary,) = convert_kitti(tmp_path, workers=1)
    assert 3900 < summary.intensity[1] < 4000
    assert np.fromfile(reduced, np.float32).reshape(-1, 4)[:, 3].max() > 3900, 'kept as it is'
    (summary,) = convert_kitti(tmp_path, workers=1, intensity_max=4000)
    assert 0.9 < np.fromfile(reduced, np.float32).reshape(-1, 4)[:, 3].max() <= 1, 'the scan is reduced again'
    before = reduced.stat().st_mtime_ns
    convert_kitti(tmp_path, workers=1, intensity_max=4000)
    assert reduced.stat().st_mtime_ns == before
