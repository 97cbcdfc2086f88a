"""Every format of scans gives the same points."""

import struct

import numpy as np
import pytest

from ssal3d.data.folder.point_files import choose_columns, read_points
from ssal3d.errors import UserError
from tests.helpers.kitti_street import boxes_of, scan_of


def cloud() -> np.ndarray:
    """x, y, z, intensity of a street."""
    random = np.random.default_rng(0)
    return scan_of(random, boxes_of(random)[1])[:600]


def pcd_header(count, kind):
    return (
        f'# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\n'
        f'COUNT 1 1 1 1\nWIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA {kind}\n'
    ).encode()


def ply_header(count, kind):
    names = ''.join(f'property float {name}\n' for name in ('x', 'y', 'z', 'intensity'))
    return f'ply\nformat {kind} 1.0\nelement vertex {count}\n{names}end_header\n'.encode()


def as_text(points):
    return ''.join(' '.join(f'{value:.9g}' for value in row) + '\n' for row in points.tolist()).encode()


def lzf_stored(data):
    """The trivial LZF stream: runs of at most 32 literal bytes, each after its length less one."""
    return b''.join(bytes([len(part) - 1]) + part for part in (data[i : i + 32] for i in range(0, len(data), 32)))


def compressed_pcd(points):
    data = np.ascontiguousarray(points.T).tobytes()  # field after field
    packed = lzf_stored(data)
    return pcd_header(len(points), 'binary_compressed') + struct.pack('<II', len(packed), len(data)) + packed


FORMATS = {
    'a.bin': lambda p: p.tobytes(),
    'ascii.pcd': lambda p: pcd_header(len(p), 'ascii') + as_text(p),
    'binary.pcd': lambda p: pcd_header(len(p), 'binary') + p.tobytes(),
    'compressed.pcd': compressed_pcd,
    'ascii.ply': lambda p: ply_header(len(p), 'ascii') + as_text(p),
    'little.ply': lambda p: ply_header(len(p), 'binary_little_endian') + p.tobytes(),
    'big.ply': lambda p: ply_header(len(p), 'binary_big_endian') + p.astype('>f4').tobytes(),
}


def needs(name):
    pytest.importorskip({'.pcd': 'pypcd4', '.ply': 'trimesh'}.get(name[name.index('.') :], 'numpy'))


@pytest.mark.parametrize('name', FORMATS)
def test_every_format_gives_the_same_points(tmp_path, name):
    needs(name)
    points = cloud()
    (tmp_path / name).write_bytes(FORMATS[name](points))
    np.testing.assert_allclose(read_points(tmp_path / name, choose_columns(None, None)), points, rtol=1e-6)


@pytest.mark.parametrize('name', [name for name in FORMATS if name != 'a.bin'])
def test_a_cut_file_is_named(tmp_path, name):
    needs(name)
    content = FORMATS[name](cloud())
    (tmp_path / name).write_bytes(content[: len(content) // 3])
    with pytest.raises(UserError, match=rf'{name}: not a readable (PCD|PLY) file'):
        read_points(tmp_path / name, choose_columns(None, None))


@pytest.mark.parametrize('kind', [np.float32, np.float64])
def test_numpy_files(tmp_path, kind):
    points = cloud()
    np.save(tmp_path / 'a.npy', points.astype(kind))
    np.testing.assert_allclose(read_points(tmp_path / 'a.npy', choose_columns(None, None)), points)
    rows = np.zeros(len(points), dtype=[('Reflectivity', kind), ('z', kind), ('y', kind), ('x', kind)])
    for column, name in enumerate(('x', 'y', 'z', 'Reflectivity')):
        rows[name] = points[:, column]
    np.save(tmp_path / 'named.npy', rows)
    np.testing.assert_allclose(read_points(tmp_path / 'named.npy', choose_columns(None, None)), points)
    np.save(tmp_path / 'flat.npy', points.reshape(-1))
    with pytest.raises(UserError, match=r'flat\.npy: found an array of shape \(2400,\)'):
        read_points(tmp_path / 'flat.npy', choose_columns(None, None))
    np.save(tmp_path / 'objects.npy', np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r'objects\.npy: not readable as a NumPy file of numbers'):
        read_points(tmp_path / 'objects.npy', choose_columns(None, None))


def test_any_width_of_flat_files(tmp_path):
    points = cloud()
    wide = np.column_stack((points, np.arange(600) % 32, np.linspace(0, 0.1, 600))).astype(np.float32)
    wide.tofile(tmp_path / 'six.bin')
    np.testing.assert_array_equal(read_points(tmp_path / 'six.bin', choose_columns(None, None)), points)
    np.testing.assert_array_equal(read_points(tmp_path / 'six.bin', choose_columns(None, 6)), points)
    chosen = read_points(tmp_path / 'six.bin', choose_columns(['x', 'y', 'z', 'i', '_', 't'], 6))
    np.testing.assert_array_equal(chosen, wide[:, [0, 1, 2, 3, 5]])
    points[:, :3].tofile(tmp_path / 'three.bin')
    found = read_points(tmp_path / 'three.bin', choose_columns(None, None))
    np.testing.assert_array_equal(found[:, :3], points[:, :3])
    assert (found[:, 3] == 0).all()
    with pytest.raises(UserError, match='expected a multiple of 28'):
        read_points(tmp_path / 'six.bin', choose_columns(None, 7))


def test_numbers_that_do_not_tell_the_width(tmp_path):
    np.zeros(120, np.float32).tofile(tmp_path / 'a.bin')
    with pytest.raises(UserError, match='do not tell how many values a point has; say it with --load-dim'):
        read_points(tmp_path / 'a.bin', choose_columns(None, None))


def test_times_since_an_epoch_keep_their_differences(tmp_path):
    points = cloud().astype(np.float64)
    np.save(tmp_path / 'a.npy', np.column_stack((points, 1.7e9 + np.linspace(0, 0.1, 600))))
    found = read_points(tmp_path / 'a.npy', choose_columns(['x', 'y', 'z', 'i', 't'], None))
    np.testing.assert_allclose(found[:, 4], np.linspace(0, 0.1, 600), atol=1e-6)


@pytest.mark.parametrize(
    ('names', 'load_dim', 'message'),
    [
        ('x y z q', None, "unknown column 'q'"),
        ('x y z z', None, "'z' stands twice"),
        ('x y i', None, 'expected x, y and z'),
        ('x y z i', 5, 'found 4 names, expected 5'),
    ],
)
def test_wrong_columns_are_named(names, load_dim, message):
    with pytest.raises(UserError, match=message):
        choose_columns(names.split(), load_dim)


def test_missing_files_columns_and_formats(tmp_path):
    with pytest.raises(UserError, match=r'a\.bin: no such file'):
        read_points(tmp_path / 'a.bin', choose_columns(None, None))
    with pytest.raises(UserError, match='unknown format of a scan'):
        read_points(tmp_path / 'a.las', choose_columns(None, None))
    np.save(tmp_path / 'a.npy', np.zeros(3, dtype=[('x', 'f4'), ('y', 'f4')]))
    with pytest.raises(UserError, match="no column 'z' among x, y"):
        read_points(tmp_path / 'a.npy', choose_columns(None, None))
