"""Points as public data sets and programs lay them out, written byte by byte, and read."""

import struct

import numpy as np
import pytest

from ssal3d.data.folder.layout import find_scans
from ssal3d.data.folder.point_files import choose_columns, read_points
from ssal3d.errors import UserError

RNG = np.random.default_rng(0)
COUNT = 400
XYZ = np.column_stack((RNG.uniform(-60, 60, COUNT), RNG.uniform(-60, 60, COUNT), RNG.uniform(-2, 3, COUNT)))
XYZ = XYZ.astype(np.float32)
BRIGHT = RNG.integers(0, 256, COUNT).astype(np.float32)  # 0 to 255
UNIT = (BRIGHT / 256).astype(np.float32)
RING = (np.arange(COUNT) % 32).astype(np.float32)
TIME = np.linspace(0, 0.1, COUNT).astype(np.float32)


def floats(*columns):
    return np.column_stack((XYZ, *columns)).astype('<f4').tobytes()


def rows(layout, **columns):
    """Records of one byte layout; what no column is given for is padding with rubbish in it."""
    table = np.frombuffer(b'\x5a' * (COUNT * np.dtype(layout).itemsize), np.dtype(layout)).copy()
    for name, values in {'x': XYZ[:, 0], 'y': XYZ[:, 1], 'z': XYZ[:, 2], **columns}.items():
        table[name] = values
    return table


def pcd(fields, sizes, types, counts, kind, data, height=1, version='0.7'):
    head = (
        f'# .PCD v{version} - Point Cloud Data file format\nVERSION {version}\nFIELDS {fields}\nSIZE {sizes}\nTYPE {types}\n'
        f'COUNT {counts}\nWIDTH {COUNT // height}\nHEIGHT {height}\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {COUNT}\nDATA {kind}\n'
    )
    return head.encode() + data


def ply(kind, properties, data):
    lines = ''.join(f'property {entry}\n' for entry in properties)
    return (
        f'ply\nformat {kind} 1.0\ncomment Created by hand\nelement vertex {COUNT}\n{lines}end_header\n'.encode() + data
    )


def text(*columns):
    return ''.join(
        ' '.join(f'{value:.9g}' for value in row) + '\n' for row in np.column_stack((XYZ, *columns))
    ).encode()


def lzf(data):
    """LZF as PCL writes it: runs of literal bytes, and references to bytes that came before."""
    result, literals, seen, at = bytearray(), bytearray(), {}, 0

    def flush():
        for start in range(0, len(literals), 32):
            part = literals[start : start + 32]
            result.extend((len(part) - 1, *part))
        literals.clear()

    while at < len(data):
        key, before = data[at : at + 3], seen.get(data[at : at + 3])
        length = 0
        if before is not None and len(key) == 3 and at - before <= 8192:
            while length < 264 and at + length < len(data) and data[before + length] == data[at + length]:
                length += 1
        seen[key] = at
        if length < 3:
            literals.append(data[at])
            at += 1
            continue
        flush()
        offset, run = at - before - 1, length - 2
        result.extend(
            (run << 5 | offset >> 8, offset & 255) if run < 7 else (7 << 5 | offset >> 8, run - 7, offset & 255)
        )
        at += length
    flush()
    return bytes(result)


def packed(data):
    squeezed = lzf(data)
    assert len(squeezed) < len(data), 'nothing refers back'
    return struct.pack('<II', len(squeezed), len(data)) + squeezed


OUSTER = rows(
    {
        'names': ['x', 'y', 'z', 'intensity', 't', 'reflectivity', 'ring', 'ambient', 'range'],
        'formats': ['<f4', '<f4', '<f4', '<f4', '<u4', '<u2', 'u1', '<u2', '<u4'],
        'offsets': [0, 4, 8, 16, 20, 24, 26, 28, 32],
        'itemsize': 48,
    },
    intensity=BRIGHT,
    t=np.arange(COUNT),
    ring=RING,
)
HESAI = rows(
    {
        'names': ['x', 'y', 'z', 'intensity', 'timestamp', 'ring'],
        'formats': ['<f4', '<f4', '<f4', '<f4', '<f8', '<u2'],
        'offsets': [0, 4, 8, 16, 24, 32],
        'itemsize': 48,
    },
    intensity=BRIGHT,
    timestamp=1686039063.25 + TIME.astype(np.float64),
    ring=RING,
)
CLOUDCOMPARE = rows(
    np.dtype([('x', '<f8'), ('y', '<f8'), ('z', '<f8'), ('rgb', 'u1', 3), ('intensity', '<f4'), ('class', '<f4')]),
    intensity=BRIGHT,
)
UPSIDE_DOWN = rows([('x', '>f4'), ('y', '>f4'), ('z', '>f4'), ('intensity', '>f4')], intensity=UNIT)


def npy(description, data, shape, version=1, fortran=False):
    """A NumPy file: magic, version, length of a header in Python's notation, padded so that the numbers begin at 64."""
    head = f"{{'descr': {description}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    start = 10 if version == 1 else 12
    head += ' ' * (-(start + len(head) + 1) % 64) + '\n'
    length = struct.pack('<H' if version == 1 else '<I', len(head))
    return b'\x93NUMPY' + bytes((version, 0)) + length + head.encode() + data


NAMED = rows(
    [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('intensity', '<f4'), ('ring', '<u2')], intensity=BRIGHT, ring=RING
)

# File, its content, intensities, further columns to ask for and their values, by whose files look so.
LAYOUTS = {
    'KITTI, SemanticKITTI, ONCE: .bin of 4': ('000000.bin', floats(UNIT), UNIT, {}),
    'nuScenes: .pcd.bin of 5, intensity to 255, ring': ('LIDAR_TOP__1.pcd.bin', floats(BRIGHT, RING), BRIGHT, {}),
    'T4 (AWML): .pcd.bin of 5 without rings': ('00000.pcd.bin', floats(BRIGHT, np.full(COUNT, -1)), BRIGHT, {}),
    'MMDetection3D, Waymo: .bin of 6': ('1000000.bin', floats(UNIT, UNIT / 2, TIME), UNIT, {}),
    'three values: .bin': ('1.bin', floats(), np.zeros(COUNT), {}),
    'NumPy, rows of four float32': ('rows.npy', npy("'<f4'", floats(UNIT), (COUNT, 4)), UNIT, {}),
    'NumPy, version 2, columns one after the other, double precision': (
        'columns.npy',
        npy("'<f8'", np.column_stack((XYZ, UNIT)).T.astype('<f8').tobytes(), (COUNT, 4), version=2, fortran=True),
        UNIT,
        {},
    ),
    'NumPy, named columns, as ros_numpy and our recordings have them': (
        'named.npy',
        npy(str(NAMED.dtype.descr), NAMED.tobytes(), (COUNT,)),
        BRIGHT,
        {'r': RING},
    ),
    'PCL from ROS, Ouster: padded binary .pcd': (
        'ouster.pcd',
        pcd(
            *('x y z _ intensity t reflectivity ring _ ambient _ range _', '4 4 4 1 4 4 2 1 1 2 1 4 1'),
            *('F F F U F U U U U U U U U', '1 1 1 4 1 1 1 1 1 1 2 1 12', 'binary', OUSTER.tobytes()),
            height=4,
        ),
        BRIGHT,
        {'r': RING},
    ),
    'PCL from ROS, Hesai (Oxford Spires): padded, times since an epoch': (
        'hesai.pcd',
        pcd(
            *('x y z _ intensity _ timestamp ring _', '4 4 4 1 4 1 8 2 1', 'F F F U F U F U U', '1 1 1 4 1 4 1 1 14'),
            *('binary', HESAI.tobytes()),
        ),
        BRIGHT,
        {'t': TIME, 'r': RING},
    ),
    'PCL, compressed: field after field': (
        'compressed.pcd',
        pcd(
            *('x y z intensity ring', '4 4 4 4 2', 'F F F F U', '1 1 1 1 1', 'binary_compressed'),
            packed(np.column_stack((XYZ, UNIT)).T.astype('<f4').tobytes() + RING.astype('<u2').tobytes()),
        ),
        UNIT,
        {'r': RING},
    ),
    'LIO-SAM and the like: ASCII .pcd of version .7': (
        'ascii.pcd',
        pcd(
            *('x y z intensity ring time', '4 4 4 4 2 4', 'F F F F U F', '1 1 1 1 1 1', 'ascii'),
            *(text(BRIGHT, RING, TIME),),
            version='.7',
        ),
        BRIGHT,
        {'r': RING, 't': TIME},
    ),
    'CloudCompare: binary .ply with doubles, colours and scalar_Intensity': (
        'cloud.ply',
        ply(
            'binary_little_endian',
            [
                *('double x', 'double y', 'double z', 'uchar red', 'uchar green', 'uchar blue'),
                *('float scalar_Intensity', 'float scalar_Classification'),
            ],
            CLOUDCOMPARE.tobytes(),
        ),
        BRIGHT,
        {},
    ),
    'GLIM: scalar_intensity, ASCII .ply': (
        'glim.ply',
        ply('ascii', ['float x', 'float y', 'float z', 'float scalar_intensity'], text(UNIT)),
        UNIT,
        {},
    ),
    'big-endian .ply': (
        'big.ply',
        ply('binary_big_endian', [f'float {name}' for name in ('x', 'y', 'z', 'intensity')], UPSIDE_DOWN.tobytes()),
        UNIT,
        {},
    ),
}


def needs(name):
    pytest.importorskip({'pcd': 'pypcd4', 'ply': 'trimesh'}.get(name.rpartition('.')[2], 'numpy'))


@pytest.mark.parametrize('title', LAYOUTS)
def test_every_layout_gives_its_points(tmp_path, title):
    name, content, intensity, more = LAYOUTS[title]
    needs(name)
    (tmp_path / name).write_bytes(content)
    points = read_points(tmp_path / name, choose_columns(['x', 'y', 'z', 'i', *more] if more else None, None))
    assert points.dtype == np.float32
    np.testing.assert_allclose(points[:, :3], XYZ, rtol=1e-6)
    np.testing.assert_allclose(points[:, 3], intensity, rtol=1e-6)
    for position, values in enumerate(more.values(), 4):
        np.testing.assert_allclose(points[:, position], values, atol=1e-6)


def test_the_columns_of_openpcdets_waymo_files(tmp_path):
    """Rows of x, y, z, intensity, elongation and a flag of no-label zones."""
    np.save(tmp_path / '0000.npy', np.column_stack((XYZ, UNIT, UNIT / 2, -np.ones(COUNT))).astype(np.float32))
    points = read_points(tmp_path / '0000.npy', choose_columns(None, None))
    np.testing.assert_allclose(points, np.column_stack((XYZ, UNIT)))


def test_names_that_say_nothing_are_named_by_position(tmp_path):
    needs('a.pcd')
    content = pcd('a b c d e', '4 4 4 4 4', 'F F F F F', '1 1 1 1 1', 'ascii', text(RING, UNIT))
    (tmp_path / 'a.pcd').write_bytes(content)
    points = read_points(tmp_path / 'a.pcd', choose_columns(['x', 'y', 'z', '_', 'i'], None))
    np.testing.assert_allclose(points, np.column_stack((XYZ, UNIT)), rtol=1e-6)
    with pytest.raises(UserError, match=r"no column 'x' among a, b, c, d, e; name others with --columns"):
        read_points(tmp_path / 'a.pcd', choose_columns(None, None))


def test_two_endings_of_nuscenes_are_no_part_of_the_frame(tmp_path):
    (tmp_path / 'points').mkdir()
    (tmp_path / 'points' / '00007.pcd.bin').write_bytes(floats(BRIGHT, RING))
    assert [scan.frame_id for scan in find_scans(tmp_path, tmp_path / 'out')] == ['00007']
