"""nuScenes' tables (https://www.nuscenes.org/nuscenes#data-format) and TIER IV's T4 data set, which follows them.

Boxes stand in the global frame there: each is turned with the pose of its frame, and turned back on the way in.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.annotation.format import Batch
from ssal3d.annotation.formats.files import SharedFileFormat, copy, dump, label_files, with_image
from ssal3d.annotation.json_lines import listed, member, number, read_located_json, where
from ssal3d.annotation.keys import id_of, key_of
from ssal3d.annotation.model import Camera, Cuboid, LabelFrame
from ssal3d.annotation.rotations import quaternion_of, rotation_of, upright
from ssal3d.annotation.scans import frame_points
from ssal3d.annotation.times import frame_times
from ssal3d.errors import UserError, unknown_name
from ssal3d.ops.boxes import points_per_box
from ssal3d.registry import ANNOTATION_FORMATS

Array = NDArray[np.floating]

FLAVOURS = ('nuscenes', 't4')
_LIDAR = {'nuscenes': 'LIDAR_TOP', 't4': 'LIDAR_CONCAT'}
_DATA = {'nuscenes': 'samples', 't4': 'data'}
_SCAN_ENDS = ('.pcd.bin', '.bin', '.pcd')
_READ = (
    'sample',
    'sample_data',
    'sample_annotation',
    'instance',
    'category',
    'ego_pose',
    'calibrated_sensor',
    'sensor',
)


@ANNOTATION_FORMATS.register_module('nuscenes')
class NuScenesFormat(SharedFileFormat):
    """The thirteen tables with scans and images; one scene a batch, one sample a frame.

    Args:
        flavour: ``'nuscenes'`` (``v1.0-<batch>/*.json``, ``samples/LIDAR_TOP``) or ``'t4'`` (``annotation/*.json``,
            ``data/LIDAR_CONCAT``).
    """

    title = 'nuScenes devkit, T4 data set (AWML, t4-devkit)'

    def __init__(self, flavour: str = 'nuscenes') -> None:
        if flavour not in FLAVOURS:
            raise unknown_name('flavour', flavour, list(FLAVOURS))
        self.flavour = flavour

    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write the tables, scans of five values a point (x, y, z, intensity, ring -1) and images."""
        tables = _Tables(self.flavour, batch)
        times = frame_times(frames)
        for frame in frames:
            points = frame_points(frame)
            tables.add(frame, times[frame.frame_id] // 1000, points)
            scan = folder / tables.filename(frame, _LIDAR[self.flavour], '.pcd.bin')
            scan.parent.mkdir(parents=True, exist_ok=True)
            scan.write_bytes(np.column_stack((points, np.full(len(points), -1))).astype('<f4').tobytes())
            for camera in with_image(frame):
                assert camera.image is not None
                copy(camera.image, folder / tables.filename(frame, camera.name, camera.image.suffix))
        place = folder / ('annotation' if self.flavour == 't4' else f'v1.0-{batch.name}')
        for name, rows in tables.finished().items():
            dump(place / f'{name}.json', rows, indent=0)
        (folder / 'maps').mkdir()
        (folder / 'maps' / 'none.png').write_bytes(_EMPTY_PICTURE)  # the devkit opens the picture of every map
        if self.flavour == 't4':
            dump(folder / 'status.json', {'source': 'ssal3d', 'batch': batch.name})
        missing = sum(frame.pose is None for frame in frames)
        return [f'{missing} frames have no pose: they stand at the origin of the global frame'] if missing else []

    def label_files(self, folder: Path) -> list[Path]:
        """Return ``sample_annotation.json`` of every data set in the folder."""
        return label_files(folder, self.title, '**/sample_annotation.json')

    def frame_of_file(self, path: Path) -> str:
        """Return no frame: a file holds many."""
        return ''

    def parse_frames(self, path: Path) -> list[tuple[str, Iterable[Cuboid]]]:
        """Read the boxes of all samples and turn them into the frame of their scan."""
        content = {name: _read_table(path.with_name(f'{name}.json')) for name in _READ}
        found = {name: {str(member(row, 'token')): row for row in rows} for name, rows in content.items()}
        annotations: dict[str, list[Any]] = {}
        for row in content['sample_annotation']:
            annotations.setdefault(str(member(row, 'sample_token')), []).append(row)
        frames: list[tuple[str, Iterable[Cuboid]]] = []
        for data in content['sample_data']:
            calibrated = _row(found, 'calibrated_sensor', data)
            if not data.get('is_key_frame') or member(_row(found, 'sensor', calibrated), 'modality') != 'lidar':
                continue
            rows = annotations.get(str(member(data, 'sample_token')), [])
            frames.append((_frame_id(str(member(data, 'filename'))), _cuboids(data, calibrated, rows, found)))
        return frames


class _Tables:
    """The tables of a batch while frames are added."""

    def __init__(self, flavour: str, batch: Batch) -> None:
        self.flavour = flavour
        self.salt = f'{batch.name} {batch.created}'
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self.samples: list[dict[str, Any]] = []
        self._put('visibility', 'unknown', level='unavailable', description='nobody looked')
        for name in batch.classes:
            self._put('category', name, name=name, description='')
        date = 'data_captured' if flavour == 't4' else 'date_captured'  # as t4-devkit spells it
        self._put('log', '', logfile='', vehicle='', **{date: batch.created[:10]}, location='')
        self._put('map', '', log_tokens=[self.token('log', '')], category='semantic_prior', filename='maps/none.png')
        self.scene = batch.name

    def token(self, kind: str, name: str) -> str:
        """Return the token of a row."""
        return hashlib.sha256(f'{self.salt}/{kind}/{name}'.encode()).hexdigest()[:32]

    def filename(self, frame: LabelFrame, channel: str, suffix: str) -> str:
        """Return the path of a frame's file."""
        return f'{_DATA[self.flavour]}/{channel}/{frame.frame_id}{suffix}'

    def add(self, frame: LabelFrame, microseconds: int, points: Array) -> None:
        """Add the rows of a frame."""
        name, pose = frame.frame_id, np.eye(4) if frame.pose is None else np.asarray(frame.pose)
        sample = self._put(
            'sample', name, timestamp=microseconds, scene_token=self.token('scene', ''), prev='', next=''
        )
        if self.samples:
            sample['prev'], self.samples[-1]['next'] = self.samples[-1]['token'], sample['token']
        self.samples.append(sample)
        self._put('ego_pose', name, timestamp=microseconds, **_transform(pose))
        channel = _LIDAR[self.flavour]
        self._sensor_data(frame, channel, 'lidar', np.eye(4), [], '.pcd.bin', 'pcd.bin', None)
        for camera in with_image(frame):
            assert camera.image is not None
            intrinsic, extrinsic = camera.pinhole
            suffix = camera.image.suffix
            arguments = (np.linalg.inv(extrinsic), intrinsic.tolist(), suffix, suffix[1:], camera)
            self._sensor_data(frame, camera.name, 'camera', *arguments)
        counts = points_per_box(points, frame.boxes).tolist()
        for cuboid, count in zip(frame.cuboids, counts):
            self._annotation(cuboid, sample['token'], pose, count)

    def finished(self) -> dict[str, list[dict[str, Any]]]:
        """Return all tables."""
        self._put(
            'scene',
            '',
            name=self.scene,
            description='frames of a query, not a sequence',
            log_token=self.token('log', ''),
            nbr_samples=len(self.samples),
            first_sample_token=self.samples[0]['token'] if self.samples else '',
            last_sample_token=self.samples[-1]['token'] if self.samples else '',
        )
        names = ('attribute', 'instance', 'sample_annotation', *self.rows)
        return {name: list(self.rows.get(name, {}).values()) for name in names}

    def _put(self, kind: str, key: str, /, **values: Any) -> dict[str, Any]:
        return self.rows.setdefault(kind, {}).setdefault(key, {'token': self.token(kind, key), **values})

    def _sensor_data(
        self,
        frame: LabelFrame,
        channel: str,
        modality: str,
        to_ego: Array,
        intrinsic: list,
        suffix: str,
        fileformat: str,
        camera: Camera | None,
    ) -> None:
        sensor = self._put('sensor', channel, channel=channel, modality=modality)
        values = {'sensor_token': sensor['token'], **_transform(to_ego), 'camera_intrinsic': intrinsic}
        if self.flavour == 't4':
            values['camera_distortion'] = [0.0] * 5 if camera else []
        calibrated = self._put('calibrated_sensor', f'{channel} {json.dumps(values)}', **values)
        width, height = (camera.size if camera else None) or (0, 0)
        sample = self.token('sample', frame.frame_id)
        values = {
            'sample_token': sample,
            'ego_pose_token': self.token('ego_pose', frame.frame_id),
            'calibrated_sensor_token': calibrated['token'],
            'filename': self.filename(frame, channel, suffix),
            'fileformat': fileformat,
            'width': width,
            'height': height,
            'timestamp': self.rows['sample'][frame.frame_id]['timestamp'],
            'is_key_frame': True,
            'prev': '',
            'next': '',
        }
        if self.flavour == 't4':
            values['is_valid'] = True
        self._put('sample_data', f'{channel}/{frame.frame_id}', **values)

    def _annotation(self, cuboid: Cuboid, sample: str, pose: Array, points: int) -> None:
        x, y, z, dx, dy, dz, yaw = cuboid.box
        local = np.eye(4)
        local[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
        local[:3, 3] = x, y, z
        token = key_of(int(cuboid.id), self.salt).replace('-', '')
        instance = self._put(
            'instance',
            cuboid.id,
            category_token=self.token('category', cuboid.class_name),
            nbr_annotations=1,
            first_annotation_token=token,
            last_annotation_token=token,
        )
        values = {
            'token': token,
            'sample_token': sample,
            'instance_token': instance['token'],
            'attribute_tokens': [],
            'visibility_token': self.token('visibility', 'unknown'),
            **_transform(pose @ local),
            'size': [dy, dx, dz],
            'num_lidar_pts': points,
            'num_radar_pts': 0,
            'next': '',
            'prev': '',
        }
        if self.flavour == 't4':
            instance['instance_name'] = cuboid.id
        self._put('sample_annotation', cuboid.id, **values)


def _transform(pose: Array) -> dict[str, list[float]]:
    x, y, z, w = quaternion_of(np.asarray(pose[:3, :3], dtype=np.float64))
    return {'translation': np.asarray(pose[:3, 3], dtype=np.float64).tolist(), 'rotation': [w, x, y, z]}


def _pose(row: Any) -> Array:
    place = where(row)
    w, x, y, z = _numbers(row, 'rotation', 4)
    result = np.eye(4)
    try:
        result[:3, :3] = rotation_of(x, y, z, w)
    except UserError as error:
        raise UserError(f'{place}: {error}') from None
    result[:3, 3] = _numbers(row, 'translation', 3)
    return result


def _cuboids(
    data: Any, calibrated: Any, rows: Sequence[Any], found: Mapping[str, Mapping[Any, Any]]
) -> Iterator[Cuboid]:
    to_lidar = np.linalg.inv(_pose(_row(found, 'ego_pose', data)) @ _pose(calibrated))
    for row in rows:
        yield _cuboid(row, found, to_lidar)


def _cuboid(row: Any, found: Mapping[str, Mapping[Any, Any]], to_lidar: Array) -> Cuboid:
    local = to_lidar @ _pose(row)
    width, length, height = _numbers(row, 'size', 3)
    instance = _row(found, 'instance', row)
    token = str(member(row, 'token'))
    digits = token if len(token) == 32 else ''
    identity = id_of('-'.join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))
    yaw, tilt = upright(local[:3, :3])
    return Cuboid(
        class_name=str(member(_row(found, 'category', instance), 'name')),
        box=(*local[:3, 3].tolist(), length, width, height, yaw),
        id=identity,
        track_id='' if identity else str(row['instance_token']),
        tilt=tilt if tilt > 1e-6 else 0.0,  # what the way through the global frame costs
        where=where(row),
    )


def _read_table(path: Path) -> list[Any]:
    return listed(read_located_json(path), 'the table', str(path))


def _row(found: Mapping[str, Mapping[Any, Any]], table: str, row: Any) -> Any:
    token = str(member(row, f'{table}_token'))
    if token not in found[table]:
        raise UserError(f"{where(row)}: {table}_token '{token}' is not in {table}.json; export the tables together")
    return found[table][token]


def _numbers(row: Any, key: str, count: int) -> list[float]:
    values = listed(member(row, key), key, where(row))
    if len(values) != count:
        raise UserError(f'{where(row)}: found {len(values)} numbers in {key}, expected {count}')
    return [number(value, key, where(row)) for value in values]


def _frame_id(filename: str) -> str:
    name = filename.rpartition('/')[2]
    return next((name.removesuffix(end) for end in _SCAN_ENDS if name.endswith(end)), name)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


_EMPTY_PICTURE = (  # one black pixel
    b'\x89PNG\r\n\x1a\n'
    + _chunk(b'IHDR', struct.pack('>IIBBBBB', 1, 1, 8, 0, 0, 0, 0))
    + _chunk(b'IDAT', zlib.compress(b'\x00\x00', 9))
    + _chunk(b'IEND', b'')
)
