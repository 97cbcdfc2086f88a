"""SUSTechPOINTS: one folder a scene, one JSON list a frame (https://github.com/naurril/SUSTechPOINTS)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssal3d.annotation.format import AnnotationFormat, Batch
from ssal3d.annotation.formats.files import copy, dump, label_files, storable, with_image
from ssal3d.annotation.json_lines import listed, member, numbers, read_located_json, where
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.rotations import from_euler
from ssal3d.annotation.scans import frame_points
from ssal3d.registry import ANNOTATION_FORMATS

ANNOTATOR = 'ssal3d'


@ANNOTATION_FORMATS.register_module('sustechpoints')
class SustechPointsFormat(AnnotationFormat):
    """SUSTechPOINTS' ``data`` folder.

    The editor deletes a box's ``annotator`` as soon as a person edits or confirms it, so a box that still has ours was
    never touched. Calibration belongs to a scene: frames with different cameras go to different scenes.
    """

    title = 'SUSTechPOINTS'

    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write ``<scene>/{lidar,label,camera,calib}`` and ``<scene>/desc.json``."""
        scenes: dict[bytes, list[LabelFrame]] = {}
        for frame in frames:
            scenes.setdefault(_calibration_key(frame), []).append(frame)
        for number, members in enumerate(scenes.values()):
            scene = folder / (batch.name if len(scenes) == 1 else f'{batch.name}_{number}')
            dump(scene / 'desc.json', {'scene': scene.name, 'comment': f'{len(members)} frames, ssal3d {batch.name}'})
            _write_calibration(members[0], scene / 'calib' / 'camera')
            for frame in members:
                points = scene / 'lidar' / f'{frame.frame_id}.bin'
                points.parent.mkdir(exist_ok=True)
                points.write_bytes(frame_points(frame).astype('<f4').tobytes())
                dump(scene / 'label' / f'{frame.frame_id}.json', [_entry(cuboid) for cuboid in frame.cuboids])
                for camera in with_image(frame):
                    assert camera.image is not None
                    image = f'{frame.frame_id}{camera.image.suffix}'
                    copy(camera.image, scene / 'camera' / camera.name / image)
        return []

    def label_files(self, folder: Path) -> list[Path]:
        """Return ``label/*.json`` of every scene."""
        return label_files(folder, self.title, '**/label/*.json', '*.json')

    def parse_file(self, path: Path) -> list[LabelFrame]:
        """Read the boxes of one frame."""
        entries = listed(read_located_json(path), 'the file', str(path))
        return [LabelFrame(path.stem, tuple(_cuboid(entry, str(path)) for entry in entries), origin=path)]


def _calibration_key(frame: LabelFrame) -> bytes:
    return b''.join(
        camera.name.encode() + camera.projection.tobytes() + camera.lidar_to_camera.tobytes()
        for camera in with_image(frame)
    )


def _write_calibration(frame: LabelFrame, folder: Path) -> None:
    for camera in with_image(frame):
        intrinsic, extrinsic = camera.pinhole
        content = {'extrinsic': np.ravel(extrinsic).tolist(), 'intrinsic': np.ravel(intrinsic).tolist()}
        dump(folder / f'{camera.name}.json', content)


def _entry(cuboid: Cuboid) -> dict[str, Any]:
    x, y, z, dx, dy, dz, yaw = cuboid.box
    return {
        'psr': {
            'position': {'x': x, 'y': y, 'z': z},
            'scale': {'x': dx, 'y': dy, 'z': dz},
            'rotation': {'x': 0, 'y': 0, 'z': yaw},
        },
        'obj_type': cuboid.class_name,
        'obj_id': cuboid.id,
        'obj_attr': '',
        'annotator': ANNOTATOR,
    }


def _cuboid(entry: Any, source: str) -> Cuboid:
    x, y, z = numbers(entry, 'x y z', 'psr', 'rotation', source=source)
    yaw, tilt = from_euler(x, y, z)
    centre = numbers(entry, 'x y z', 'psr', 'position', source=source)
    size = numbers(entry, 'x y z', 'psr', 'scale', source=source)
    place = where(entry, source)
    identity, attribute = entry.get('obj_id'), entry.get('obj_attr')
    identity = '' if identity is None else str(identity)
    return Cuboid(
        class_name=str(member(entry, 'obj_type', source=source)),
        box=(*centre, *size, yaw),
        id=identity,
        track_id=identity,
        attributes=storable({'obj_attr': attribute} if attribute else {}, place),
        tilt=tilt,
        untouched=entry.get('annotator') == ANNOTATOR,
        where=place,
    )
