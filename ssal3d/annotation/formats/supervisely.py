"""Supervisely's point cloud project, which CVAT calls "Sly Point Cloud Format 1.0".

https://docs.supervisely.com/import-and-export/import/supported-annotation-formats/pointclouds/supervisely
"""

from collections.abc import Sequence
from math import radians
from pathlib import Path
from typing import Any

import numpy as np

from ssal3d.annotation.format import AnnotationFormat, Batch, Tolerance
from ssal3d.annotation.formats.files import PALETTE, copy, dump, label_files, storable, with_image
from ssal3d.annotation.json_lines import listed, member, numbers, read_located_json, where
from ssal3d.annotation.keys import FIGURE, FRAME, OBJECT, id_of, key_of
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.pcd import write_pcd
from ssal3d.annotation.rotations import from_euler
from ssal3d.annotation.scans import frame_points
from ssal3d.errors import UserError
from ssal3d.registry import ANNOTATION_FORMATS
from ssal3d.typed import is_finite

DATASET = 'ds0'  # the only name that CVAT reads
_SCAN_SUFFIXES = ('.pcd', '.bin', '.ply')


@ANNOTATION_FORMATS.register_module('sly')
class SuperviselyFormat(AnnotationFormat):
    """Supervisely project; positions are centres, rotations Euler angles in rad, dimensions local x, y, z.

    CVAT rounds every number to two decimals: 5 mm and 0.29 degrees.
    """

    title = 'Supervisely, CVAT'
    tolerance = Tolerance(metres=6e-3, radians=radians(0.3))
    has_front = False

    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write ``meta.json``, ``key_id_map.json`` and ``ds0/{pointcloud,ann,related_images}``."""
        dump(folder / 'meta.json', _meta(batch.classes))
        salt = f'{batch.name} {batch.created}'
        key_ids: dict[str, dict[str, int]] = {'tags': {}, 'objects': {}, 'figures': {}, 'videos': {}}
        for position, frame in enumerate(frames):
            annotation = _annotation(frame, position, salt, batch.created)
            key_ids['videos'][annotation['key']] = position
            for kind in ('objects', 'figures'):
                for entry in annotation[kind]:
                    key_ids[kind][entry['key']] = len(key_ids[kind]) + 1
            name = f'{frame.frame_id}.pcd'
            write_pcd(folder / DATASET / 'pointcloud' / name, frame_points(frame))
            dump(folder / DATASET / 'ann' / f'{name}.json', annotation)
            _write_images(frame, folder / DATASET / 'related_images' / name.replace('.', '_'))
        (folder / DATASET / 'related_images').mkdir(parents=True, exist_ok=True)
        dump(folder / 'key_id_map.json', key_ids)
        return []

    def label_files(self, folder: Path) -> list[Path]:
        """Return ``*/ann/*.json`` of the project, which may lie deeper in an archive."""
        return label_files(folder, self.title, '**/ann/*.json', '*.json')

    def frame_of_file(self, path: Path) -> str:
        """Return the name of the point cloud without its suffix."""
        name = path.name.removesuffix('.json')
        return next((name.removesuffix(end) for end in _SCAN_SUFFIXES if name.lower().endswith(end)), name)

    def parse_file(self, path: Path) -> list[LabelFrame]:
        """Read the figures of one point cloud."""
        content = read_located_json(path)
        source = str(path)
        objects = {
            str(member(entry, 'key', source=source)): entry
            for entry in listed(member(content, 'objects', source=source), 'objects', source)
        }
        figures = listed(member(content, 'figures', source=source), 'figures', source)
        cuboids = tuple(_cuboid(figure, objects, source) for figure in figures)
        edited = tuple(str(entry['updatedAt']) for entry in figures if entry.get('updatedAt'))
        return [LabelFrame(self.frame_of_file(path), cuboids, origin=path, edited=edited)]


def _meta(classes: Sequence[str]) -> dict[str, Any]:
    return {
        'classes': [
            {
                'id': index,
                'title': name,
                'color': PALETTE[index % len(PALETTE)],
                'shape': 'cuboid_3d',
                'geometry_config': {},
            }
            for index, name in enumerate(classes)
        ],
        'tags': [
            {
                'id': 1,
                'name': 'score',
                'value_type': 'any_number',
                'color': '#888888',
                'hotkey': '',
                'applicable_type': 'objectsOnly',
                'classes': list(classes),
            }
        ],
        'projectType': 'point_clouds',
    }


def _annotation(frame: LabelFrame, position: int, salt: str, created: str) -> dict[str, Any]:
    stamps = {'labelerLogin': '', 'createdAt': created, 'updatedAt': created}
    objects, figures = [], []
    for cuboid in frame.cuboids:
        number = int(cuboid.id)
        x, y, z, dx, dy, dz, yaw = cuboid.box
        key, tags = key_of(number, salt, OBJECT), []
        if cuboid.score is not None:
            tags.append({'key': key_of(number, salt, '3d03'), 'name': 'score', 'value': round(cuboid.score, 4)})
        objects.append({'key': key, 'classTitle': cuboid.class_name, 'tags': tags, **stamps})
        geometry = {
            'position': {'x': x, 'y': y, 'z': z},
            'rotation': {'x': 0, 'y': 0, 'z': yaw},
            'dimensions': {'x': dx, 'y': dy, 'z': dz},
        }
        figures.append(
            {
                'key': key_of(number, salt, FIGURE),
                'objectKey': key,
                'geometryType': 'cuboid_3d',
                'geometry': geometry,
                **stamps,
            }
        )
    return {
        'description': '',
        'key': key_of(position, salt, FRAME),
        'tags': [],
        'objects': objects,
        'figures': figures,
    }


def _write_images(frame: LabelFrame, folder: Path) -> None:
    for camera in with_image(frame):
        assert camera.image is not None
        name = f'{camera.name}{camera.image.suffix}'
        intrinsic, extrinsic = camera.pinhole
        sensors = {
            'extrinsicMatrix': np.ravel(extrinsic[:3]).tolist(),
            'intrinsicMatrix': np.ravel(intrinsic).tolist(),
        }
        copy(camera.image, folder / name)
        dump(folder / f'{name}.json', {'name': name, 'meta': {'deviceId': camera.name, 'sensorsData': sensors}})


def _cuboid(figure: Any, objects: dict[str, Any], source: str) -> Cuboid:
    place = where(figure, source)
    kind = member(figure, 'geometryType', source=source)
    if kind != 'cuboid_3d':
        raise UserError(f"{place}: found a figure of type '{kind}', expected cuboid_3d; delete it in the tool")
    key = str(member(figure, 'objectKey', source=source))
    if key not in objects:
        raise UserError(f'{place}: the figure belongs to object {key}, which the file lacks; export it again')
    owner = objects[key]
    x, y, z = numbers(figure, 'x y z', 'geometry', 'rotation', source=source)
    yaw, tilt = from_euler(x, y, z)
    centre = numbers(figure, 'x y z', 'geometry', 'position', source=source)
    size = numbers(figure, 'x y z', 'geometry', 'dimensions', source=source)
    tags = {
        str(tag.get('name')): tag.get('value')
        for tag in listed(owner.get('tags', []), 'tags', place)
        if isinstance(tag, dict)
    }
    score = tags.pop('score', None)
    track = tags.pop('track_id', '')
    return Cuboid(
        class_name=str(member(owner, 'classTitle', source=source)),
        box=(*centre, *size, yaw),
        id=id_of(str(key)),
        track_id='' if track is None else str(track),
        score=float(score) if score is not None and is_finite(score) else None,
        attributes=storable(tags, place),
        tilt=tilt,
        where=place,
    )
