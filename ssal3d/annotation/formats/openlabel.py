"""ASAM OpenLABEL 1.0.0 (https://www.asam.net/standards/detail/openlabel/), which Kognic and Deepen take as well."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssal3d.annotation.format import Batch
from ssal3d.annotation.formats.files import SharedFileFormat, copy, dump, label_files, storable
from ssal3d.annotation.json_lines import listed, mapped, member, number, numbers, read_located_json, where
from ssal3d.annotation.keys import id_of, key_of
from ssal3d.annotation.model import Camera, Cuboid, LabelFrame
from ssal3d.annotation.pcd import write_pcd
from ssal3d.annotation.rotations import from_euler, from_quaternion, front_to_x, front_to_y, quaternion
from ssal3d.annotation.scans import frame_points
from ssal3d.errors import UserError, unknown_name
from ssal3d.registry import ANNOTATION_FORMATS

LIDAR = 'lidar'
_INTERVALS = [{'frame_start': 0, 'frame_end': 0}]
_FRONTS = ('+x', '+y')
_SIZES = {9: 'x, y, z, rx, ry, rz, sx, sy, sz', 10: 'x, y, z, qx, qy, qz, qw, sx, sy, sz'}


@ANNOTATION_FORMATS.register_module('openlabel')
class OpenLabelFormat(SharedFileFormat):
    """One OpenLABEL file a frame, cuboids with quaternions; cuboids with Euler angles (ZYX) are read as well.

    Args:
        front: Axis of the cuboid along which an object looks: ``'+x'`` as in ISO 8855, or ``'+y'`` as Kognic draws it.
    """

    title = 'OpenLABEL: Kognic, Deepen, VCD, raillabel'

    def __init__(self, front: str = '+x') -> None:
        if front not in _FRONTS:
            raise unknown_name('front', front, list(_FRONTS))
        self.front = front

    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write ``labels/<frame id>.json``, ``lidar/<frame id>.pcd`` and ``images/<camera>/*``."""
        for frame in frames:
            write_pcd(folder / LIDAR / f'{frame.frame_id}.pcd', frame_points(frame))
            for camera in frame.cameras:
                if camera.image is not None:
                    copy(camera.image, folder / _image(frame, camera))
            dump(folder / 'labels' / f'{frame.frame_id}.json', self.content(frame, batch))
        return []

    def content(self, frame: LabelFrame, batch: Batch) -> dict[str, Any]:
        """Return the OpenLABEL document of one frame."""
        salt = f'{batch.name} {batch.created}'
        keys = [key_of(int(cuboid.id), salt) for cuboid in frame.cuboids]
        comment = f'boxes look along {self.front} of their own frame; sizes are metres along its x, y, z'
        uri = f'{LIDAR}/{frame.frame_id}.pcd'
        properties = {
            'timestamp': (frame.time_ns or 0) / 1e9,
            'external_id': frame.frame_id,
            'streams': {LIDAR: {'uri': uri}},
        }
        return {
            'openlabel': {
                'metadata': {
                    'schema_version': '1.0.0',
                    'annotator': f'ssal3d pre-labels, {batch.name}',
                    'file_version': '1',
                    'comment': comment,
                },
                'coordinate_systems': _coordinate_systems(frame.cameras),
                'streams': {LIDAR: {'type': 'lidar', 'uri': uri}, **_camera_streams(frame)},
                'frame_intervals': _INTERVALS,
                'objects': {
                    key: {
                        'name': f'{cuboid.class_name}-{cuboid.id}',
                        'type': cuboid.class_name,
                        'frame_intervals': _INTERVALS,
                        'object_data_pointers': {'box': {'type': 'cuboid', 'frame_intervals': _INTERVALS}},
                    }
                    for key, cuboid in zip(keys, frame.cuboids)
                },
                'frames': {
                    '0': {
                        'frame_properties': properties,
                        'objects': {
                            key: {'object_data': {'cuboid': [self._entry(cuboid)]}}
                            for key, cuboid in zip(keys, frame.cuboids)
                        },
                    }
                },
            }
        }

    def label_files(self, folder: Path) -> list[Path]:
        """Return the files in ``labels``, or all JSON files of the folder."""
        return label_files(folder, self.title, 'labels/*.json', '*.json', '**/*.json')

    def parse_frames(self, path: Path) -> list[tuple[str, Iterable[Cuboid]]]:
        """Read all frames of one document."""
        source = str(path)
        document = member(read_located_json(path), 'openlabel', source=source)
        member(document, 'frames', source=source)
        frames = mapped(document, 'frames', source)
        lidars, objects = _lidar_systems(document), mapped(document, 'objects', source)
        # A box that stands with the object, outside the frames, holds for all frames of the object.
        still = {key: owner for key, owner in objects.items() if mapped(owner, 'object_data', source).get('cuboid')}
        result: list[tuple[str, Iterable[Cuboid]]] = []
        for key, entry in frames.items():
            name = _frame_id(entry, document, path.stem if len(frames) == 1 else '')
            if not name:
                raise UserError(
                    f'{where(entry, source)}: a frame has neither external_id nor a LiDAR uri; export it again'
                )
            here = [(other, owner) for other, owner in still.items() if _holds_in(owner, key, where(owner, source))]
            result.append((name, self._cuboids(entry, here, document, lidars, source)))
        return result

    def _cuboids(
        self, entry: Any, still: Sequence[tuple[str, Any]], document: Any, lidars: frozenset[str], source: str
    ) -> Iterator[Cuboid]:
        for key, data in (*mapped(entry, 'objects', source).items(), *still):
            place = where(data, source)
            for found in listed(mapped(data, 'object_data', source).get('cuboid', []), 'cuboid', place):
                yield self._cuboid(found, key, document, lidars, source)

    def _entry(self, cuboid: Cuboid) -> dict[str, Any]:
        box = cuboid.box if self.front == '+x' else front_to_y(cuboid.box)
        scores = [] if cuboid.score is None else [{'name': 'score', 'val': round(cuboid.score, 4)}]
        return {
            'name': 'box',
            'coordinate_system': LIDAR,
            'val': [*box[:3], *quaternion(box[6]), *box[3:6]],
            'attributes': {
                'num': scores,
                'text': [{'name': 'source', 'val': 'ssal3d'}],
                'boolean': [{'name': 'verified', 'val': False}],
            },
        }

    def _cuboid(self, entry: Any, key: str, document: Any, lidars: frozenset[str], source: str) -> Cuboid:
        place = where(entry, source)
        values = [number(value, 'val', place) for value in listed(member(entry, 'val', source=source), 'val', place)]
        system = str(entry.get('coordinate_system', ''))
        if system and system not in lidars:
            raise UserError(
                f"{place}: found a cuboid in the coordinate system '{system}', expected the LiDAR's "
                f'({", ".join(sorted(lidars))}); export it in that frame'
            )
        if len(values) not in _SIZES:
            raise UserError(f'{place}: found {len(values)} numbers in val, expected {" or ".join(_SIZES.values())}')
        try:
            yaw, tilt = (
                from_quaternion(*values[3:7])
                if len(values) == 10
                else from_euler(values[3], values[4], values[5], 'ZYX')
            )
        except UserError as error:
            raise UserError(f'{place}: {error}; export it again') from None
        box = (*values[:3], *values[-3:], yaw)
        owner = member(document, 'objects', key, source=source)
        attributes = _attributes(entry, place)
        score = attributes.pop('score', None)
        for ours in ('source', 'verified'):
            attributes.pop(ours, None)
        return Cuboid(
            class_name=str(member(owner, 'type', source=source)),
            box=box if self.front == '+x' else front_to_x(box),
            id=id_of(key),
            track_id='' if id_of(key) else key,
            score=score if isinstance(score, float) else None,
            attributes=storable(attributes, place),
            tilt=tilt,
            where=place,
        )


def _coordinate_systems(cameras: Sequence[Camera]) -> dict[str, Any]:
    systems: dict[str, Any] = {
        LIDAR: {'type': 'sensor_cs', 'parent': '', 'children': [camera.name for camera in cameras]}
    }
    for camera in cameras:
        to_parent = np.linalg.inv(camera.lidar_to_camera)
        systems[camera.name] = {
            'type': 'sensor_cs',
            'parent': LIDAR,
            'children': [],
            'pose_wrt_parent': {'matrix4x4': np.ravel(to_parent).tolist()},
        }
    return systems


def _camera_streams(frame: LabelFrame) -> dict[str, Any]:
    streams = {}
    for camera in frame.cameras:
        pinhole: dict[str, Any] = {
            'camera_matrix': np.ravel(camera.projection[:3]).tolist(),
            'distortion_coeffs': [0.0] * 5,
        }
        width, height = camera.size or (0, 0)
        pinhole |= {'height_px': height, 'width_px': width}
        streams[camera.name] = {'type': 'camera', 'stream_properties': {'intrinsics_pinhole': pinhole}}
        if camera.image is not None:
            streams[camera.name]['uri'] = _image(frame, camera)
    return streams


def _image(frame: LabelFrame, camera: Camera) -> str:
    suffix = camera.image.suffix if camera.image else ''
    return f'images/{camera.name}/{frame.frame_id}{suffix}'


def _lidar_systems(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the names that mean the LiDAR's frame: its streams, and ours where a file names none."""
    streams = mapped(document, 'streams')
    return frozenset({name for name in streams if mapped(streams, name).get('type') == 'lidar'} or {LIDAR})


def _holds_in(owner: Any, key: str, place: str) -> bool:
    """Return whether a frame belongs to an object; all do if the object does not say which."""
    spans = [
        numbers(span, 'frame_start frame_end', source=place)
        for span in listed(owner.get('frame_intervals', []), 'frame_intervals', place)
    ]
    if spans and not key.isdecimal():
        raise UserError(f"{place}: found the frame key '{key}', expected a whole number; export it again")
    return not spans or any(first <= float(key) <= last for first, last in spans)


def _frame_id(entry: Any, document: Mapping[str, Any], default: str) -> str:
    properties = mapped(entry, 'frame_properties')
    if properties.get('external_id'):
        return str(properties['external_id'])
    for name in _lidar_systems(document):
        uri = mapped(mapped(properties, 'streams'), name).get('uri')
        uri = uri or (mapped(mapped(document, 'streams'), name).get('uri') if default else None)
        if uri:
            return Path(str(uri)).stem
    return default


def _attributes(entry: Any, place: str) -> dict[str, Any]:
    attributes = mapped(entry, 'attributes')
    return {
        str(attribute.get('name')): number(attribute['val'], 'val', place) if kind == 'num' else attribute.get('val')
        for kind in ('num', 'text', 'boolean')
        for attribute in listed(attributes.get(kind, []), kind, place)
        if isinstance(attribute, Mapping) and 'val' in attribute
    }
