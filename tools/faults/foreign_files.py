"""Readers of KITTI's files and of folders of own data, each with small valid files."""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tools.faults.fuzzing import Example, Reader
from tools.faults.own_files import plain

_CALIBRATION = b"""P0: 100 0 64 0 0 100 64 0 0 0 1 0
P1: 100 0 64 0 0 100 64 0 0 0 1 0
P2: 100 0 64 0 0 100 64 0 0 0 1 0
P3: 100 0 64 0 0 100 64 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0
Tr_imu_to_velo: 1 0 0 0 0 1 0 0 0 0 1 0
"""
_LABELS = b"""Car 0.00 0 -1.57 10.0 20.0 60.5 70.25 1.5 1.7 4.0 1.0 1.7 12.0 -1.57
Pedestrian 0.30 1 0.2 5 5 9 30 1.73 0.6 0.8 -3.25 1.6 8.5 0.1
DontCare -1 -1 -10 5 5 9 30 -1 -1 -1 -1000 -1000 -1000 -10
"""
_DETECTIONS = b'Car -1 -1 -1.57 10.0 20.0 60.5 70.25 1.5 1.7 4.0 1.0 1.7 12.0 -1.57 0.87\n'
POINTS = np.random.default_rng(0).uniform((1, -20, -2, 0), (40, 20, 2, 1), (60, 4)).astype(np.float32)


def kitti_labels_reader() -> Reader:
    """KITTI's label and detection files, with the turn into LiDAR boxes."""
    from ssal3d.data.kitti_format import DONT_CARE, camera_boxes_to_lidar, read_calibration
    from ssal3d.data.kitti_objects import read_frames

    def read(at: Path) -> Any:
        frames = read_frames(at / 'label_2', ['000001'])
        objects = frames[0]
        cared = objects[(objects.names != DONT_CARE) & objects.has_3d_box]
        return objects, camera_boxes_to_lidar(cared, read_calibration(at / 'calib' / '000001.txt'))

    def check(found: Any) -> None:
        objects, boxes = found
        assert np.isfinite(boxes).all(), f'boxes {boxes.tolist()}'
        assert (boxes[:, 3:6] > 0).all(), f'boxes {boxes.tolist()}'
        assert (np.abs(boxes[:, 6]) <= np.pi + 1e-6).all(), f'yaw {boxes[:, 6].tolist()}'
        for column in (objects.truncated, objects.alpha, objects.bbox, objects.dimensions, objects.location):
            assert np.isfinite(column).all()
        scores = objects.scores[~np.isnan(objects.scores)]
        assert np.isfinite(scores).all()

    files = {'calib/000001.txt': _CALIBRATION}
    target = 'label_2/000001.txt'
    return Reader(
        'kitti-labels', read, [Example(target, text, 'text', files) for text in (_LABELS, _DETECTIONS)], check
    )


def kitti_calibration_reader() -> Reader:
    """KITTI's calibration files."""
    from ssal3d.data.kitti_format import camera_image_size, in_camera_view, project, read_calibration

    def read(at: Path) -> Any:
        found = read_calibration(at / 'x.txt')
        camera_image_size(found)
        with np.errstate(over='ignore'):
            return found, in_camera_view(POINTS, found, (1242, 375)), project(POINTS, found)

    def check(found: Any) -> None:
        assert np.isfinite(found[0].lidar_to_camera).all()
        assert np.isfinite(found[0].matrices['P2']).all()
        np.linalg.inv(found[0].lidar_to_camera)
        pixels, depth = found[2]
        assert np.isfinite(pixels[depth > 1e-3]).all(), 'pixels that are not finite'

    return Reader('kitti-calibration', read, [Example('x.txt', _CALIBRATION, 'text')], check)


def kitti_lists_reader() -> Reader:
    """KITTI's split lists, road planes and image headers."""
    from ssal3d.data.kitti_format import png_size, read_plane, read_split

    def read(at: Path) -> Any:
        path = next(at.iterdir())
        return {'split.txt': read_split, 'plane.txt': read_plane, 'x.png': png_size}[path.name](path)

    def check(found: Any) -> None:
        assert found, 'nothing'
        if isinstance(found, list) and isinstance(found[0], str):
            assert len(set(found)) == len(found)
            assert not any('/' in name or name.startswith('.') for name in found)
        else:
            assert np.isfinite(found).all(), f'{found}'
            assert isinstance(found, list) or min(found) > 0, f'{found}'

    plane = b'# Plane\nWidth 4\nHeight 1\n-7.0e-03 -9.99e-01 -1.8e-02 1.65e+00\n'
    picture = b'\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x04\xda\x00\x00\x01\x77\x08\x02\x00\x00\x00'
    examples = [
        Example('split.txt', b'000000\n000003\n000007\n', 'text'),
        Example('plane.txt', plane, 'text'),
        Example('x.png', picture),
    ]
    return Reader('kitti-lists', read, examples, check)


def scan_reader() -> Reader:
    """Scans as flat files of float32 numbers."""
    from ssal3d.data.scans import check_plausible, read_scan, scale_intensity

    def read(at: Path) -> Any:
        points = read_scan(at / 'x.bin')
        finite = points[check_plausible(points, at / 'x.bin')]
        return scale_intensity(finite, 1.0, at / 'x.bin')

    def check(found: Any) -> None:
        assert len(found)
        assert np.isfinite(found).all()

    return Reader('scan', read, [Example('x.bin', POINTS.tobytes())], check)


def points_reader() -> Reader:
    """Scans of own data: flat files, NumPy, PCD and PLY, as text and binary."""
    from ssal3d.annotation.pcd import write_pcd
    from ssal3d.data.folder.point_files import ScanColumns, read_points

    text = ''.join(f'{x:.3f} {y:.3f} {z:.3f} {i:.3f}\n' for x, y, z, i in POINTS[:12].tolist()).encode()
    pcd = 'VERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH 12\nHEIGHT 1\n'
    pcd += 'VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 12\nDATA ascii\n'
    names = ''.join(f'property float {name}\n' for name in ('x', 'y', 'z', 'intensity'))
    ply = 'ply\nformat {} 1.0\nelement vertex 12\n' + names + 'end_header\n'
    array, named = io.BytesIO(), io.BytesIO()
    np.save(array, POINTS)
    np.save(named, np.array([tuple(row) for row in POINTS], [(name, 'f4') for name in ('x', 'y', 'z', 'intensity')]))
    with tempfile.TemporaryDirectory() as folder:
        write_pcd(Path(folder) / 'x.pcd', POINTS)
        binary = (Path(folder) / 'x.pcd').read_bytes()
    examples = [
        Example('x.bin', POINTS.tobytes()),
        *(Example('x.npy', content.getvalue()) for content in (array, named)),
        Example('x.pcd', binary),
        Example('x.pcd', pcd.encode() + text, 'text'),
        Example('x.ply', ply.format('ascii').encode() + text, 'text'),
        Example('x.ply', ply.format('binary_little_endian').encode() + POINTS[:12].tobytes()),
    ]

    def read(at: Path) -> Any:
        path = next(at.iterdir())
        return read_points(path, ScanColumns(load_dim=4 if path.suffix == '.bin' else None))

    def check(found: Any) -> None:
        assert found.ndim == 2
        assert found.shape[1] == 4
        assert found.dtype == np.float32
        assert len(found) < 10_000, f'{len(found)} points'

    return Reader('points', read, examples, check)


def folder_labels_reader() -> Reader:
    """Labels of own data: JSON, CSV and lines, one frame a file or all in one."""
    from ssal3d.data.folder.labels import read_labels, read_table

    box = [5.0, 1.0, -1.0, 4.0, 2.0, 1.5, 0.1]
    numbers = ','.join(map(str, box))
    objects = [{'class': 'Car', 'box': box}, {'class': 'Pedestrian', 'box': [9.0, *box[1:]]}]
    header = 'class,x,y,z,length,width,height,yaw\n'
    table = f'frame,{header}a,Car,{numbers}\na,Pedestrian,{numbers}\nb,,,,,,,,\n'
    examples = [
        Example('frame.json', json.dumps({'objects': objects}).encode(), 'json'),
        Example('frame.csv', f'{header}Car,{numbers}\nPedestrian,{numbers}\n'.encode(), 'text'),
        Example('frame.txt', (' '.join(map(str, box)) + ' Car\n').encode() * 2, 'text'),
        Example('frame.txt', _LABELS, 'text'),
        Example('table.json', json.dumps({'frames': {'a': objects, 'b': []}}).encode(), 'json'),
        Example('table.csv', table.encode(), 'text'),
    ]

    def read(at: Path) -> Any:
        path = next(at.iterdir())
        return read_table(path) if path.stem == 'table' else {'a': read_labels(path)}

    def check(found: Any) -> None:
        for frame, labels in found.items():
            assert isinstance(frame, str)
            assert len(labels.names) == len(labels.boxes)
            plain((frame, list(labels.names)))
            if labels.kitti is None:
                assert np.isfinite(labels.boxes).all()
                assert (labels.boxes[:, 3:6] > 0).all()

    return Reader('folder-labels', read, examples, check)


def folder_layout_reader() -> Reader:
    """Split lists, poses and times of own data."""
    from ssal3d.data.folder.layout import find_scans, read_lists

    files = {f'points/scan_{number}.bin': b'x' for number in range(2)}
    pose = '1 0 0 5 0 1 0 2 0 0 1 0\n'
    files |= {'poses.txt': pose.encode() * 2, 'times.txt': b'0.5\n1.5\n', 'ImageSets/train.txt': b'scan_0\n'}

    def read(at: Path) -> Any:
        scans = find_scans(at, at / 'out')
        return scans, read_lists(at, scans, None)

    def check(found: Any) -> None:
        for scan in found[0]:
            assert np.isfinite(scan.pose).all()
            assert np.isfinite(scan.time)
        known = {scan.frame_id for scan in found[0]}
        assert all(set(names) <= known for names in found[1].values())

    targets = ('poses.txt', 'times.txt', 'ImageSets/train.txt')
    return Reader('folder-layout', read, [Example(name, files[name], 'text', files) for name in targets], check)


READERS = (
    *(kitti_labels_reader, kitti_calibration_reader, kitti_lists_reader, scan_reader, points_reader),
    *(folder_labels_reader, folder_layout_reader),
)
