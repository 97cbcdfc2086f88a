"""Xtreme1 and BasicAI: one folder to zip and upload (https://github.com/xtreme1-io/xtreme1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssal3d.annotation.format import AnnotationFormat, Batch, Problem, Reading
from ssal3d.annotation.formats.files import copy, dump, label_files, storable, with_image
from ssal3d.annotation.json_lines import listed, member, numbers, read_located_json, where
from ssal3d.annotation.keys import id_of, key_of
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.pcd import write_pcd
from ssal3d.annotation.rotations import from_euler
from ssal3d.annotation.scans import frame_points
from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.registry import ANNOTATION_FORMATS
from ssal3d.typed import is_finite

BOX = '3D_BOX'


@ANNOTATION_FORMATS.register_module('xtreme1')
class Xtreme1Format(AnnotationFormat):
    """Xtreme1's upload layout and its export.

    Args:
        class_ids: JSON file with the numeric id of each class in the data set of the tool. Without it the tool shows
            the pre-labels without a class, only as a model's.
        empty_frames: Whether a frame that comes back with ``data`` but without ``result`` holds no objects; otherwise
            it is reported.
    """

    title = 'Xtreme1, BasicAI'

    def __init__(self, class_ids: str | None = None, empty_frames: bool = False) -> None:
        self.class_ids = class_ids
        self.empty_frames = empty_frames

    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write ``<batch>/{lidar_point_cloud_0,camera_image_<i>,camera_config,result}``."""
        ids = read_json(self.class_ids, schema=False, holds=Mapping[str, int]) if self.class_ids else {}
        unknown = [name for name in batch.classes if name not in ids] if self.class_ids else []
        if unknown:
            raise UserError(f"{self.class_ids}: no id of class '{unknown[0]}', found {', '.join(ids)}")
        root, salt, empty = folder / batch.name, f'{batch.name} {batch.created}', 0
        for frame in frames:
            write_pcd(root / 'lidar_point_cloud_0' / f'{frame.frame_id}.pcd', frame_points(frame))
            for index, camera in enumerate(with_image(frame)):
                assert camera.image is not None
                copy(camera.image, root / f'camera_image_{index}' / f'{frame.frame_id}{camera.image.suffix}')
            if with_image(frame):
                dump(root / 'camera_config' / f'{frame.frame_id}.json', _camera_config(frame))
            if frame.cuboids:
                objects = [_entry(cuboid, salt, ids) for cuboid in frame.cuboids]
                dump(root / 'result' / f'{frame.frame_id}.json', {'objects': objects})
            empty += not frame.cuboids
        notes = [f'zip the folder {batch.name} and upload it as a data set with results']
        if empty:
            notes.append(f'{empty} frames without pre-labels have no result file: the tool refuses empty ones')
        if not self.class_ids:
            notes.append(
                'no --option class_ids=FILE: the tool will show pre-labels without a class, as a model gave them'
            )
        return notes

    def label_files(self, folder: Path) -> list[Path]:
        """Return ``result/*.json``."""
        return label_files(folder, self.title, '**/result/*.json')

    def read(self, folder: Path) -> Reading:
        """Read all results, and report data without a result."""
        ours = any(next(folder.glob(f'**/{name}'), None) for name in ('data', 'lidar_point_cloud_0'))
        reading = Reading() if ours and not list(folder.glob('**/result')) else super().read(folder)
        frame_ids = {frame.frame_id for frame in reading.frames} | {problem.frame_id for problem in reading.problems}
        bare = [path for path in sorted(folder.glob('**/data/*.json')) if path.stem not in frame_ids]
        if self.empty_frames:
            empty = tuple(LabelFrame(path.stem, origin=path, is_finished=True) for path in bare)
            return Reading(reading.frames + empty, reading.problems)
        problems = tuple(
            Problem(
                path.stem,
                f'{path}: the frame has no result; finish it in the tool, list it as checked if it is right as it was '
                'handed out, or give the option empty_frames=True if frames without result hold no objects',
                is_absence=True,
            )
            for path in bare
        )
        return Reading(reading.frames, reading.problems + problems)

    def parse_file(self, path: Path) -> list[LabelFrame]:
        """Read the 3D boxes of one frame; boxes in images are skipped."""
        content, source = read_located_json(path), str(path)
        parts = content if isinstance(content, list) else [content]
        cuboids = [
            _cuboid(entry, source)
            for part in parts
            for entry in listed(member(part, 'objects', source=source), 'objects', where(part, source))
            if member(entry, 'type', source=source) == BOX
        ]
        return [LabelFrame(path.stem, tuple(cuboids), origin=path)]


def _camera_config(frame: LabelFrame) -> list[dict[str, Any]]:
    result = []
    for camera in with_image(frame):
        intrinsic, extrinsic = camera.pinhole
        width, height = camera.size or (0, 0)
        internal = {
            'fx': intrinsic[0, 0],
            'fy': intrinsic[1, 1],
            'cx': intrinsic[0, 2],
            'cy': intrinsic[1, 2],
        }
        result.append(
            {
                'camera_internal': {name: float(value) for name, value in internal.items()},
                'camera_external': np.ravel(extrinsic).tolist(),
                'width': width,
                'height': height,
                'rowMajor': True,  # else the tool guesses from zeros
            }
        )
    return result


def _entry(cuboid: Cuboid, salt: str, ids: Mapping[str, int]) -> dict[str, Any]:
    x, y, z, dx, dy, dz, yaw = cuboid.box
    entry: dict[str, Any] = {
        'type': BOX,
        'trackId': key_of(int(cuboid.id), salt),
        'trackName': cuboid.id,
        'classValues': [],
        'modelClass': cuboid.class_name,
        'contour': {
            'center3D': {'x': x, 'y': y, 'z': z},
            'rotation3D': {'x': 0, 'y': 0, 'z': yaw},
            'size3D': {'x': dx, 'y': dy, 'z': dz},
            'points': [],
            'viewIndex': 0,
        },
    }
    if cuboid.class_name in ids:
        entry |= {'classId': ids[cuboid.class_name], 'className': cuboid.class_name}
    if cuboid.score is not None:
        entry['modelConfidence'] = round(cuboid.score, 4)
    return entry


def _cuboid(entry: Any, source: str) -> Cuboid:
    place = where(entry, source)
    x, y, z = numbers(entry, 'x y z', 'contour', 'rotation3D', source=source)
    yaw, tilt = from_euler(x, y, z)
    centre = numbers(entry, 'x y z', 'contour', 'center3D', source=source)
    size = numbers(entry, 'x y z', 'contour', 'size3D', source=source)
    name = entry.get('className') or entry.get('modelClass')
    if not name:
        raise UserError(f'{place}: the box has no class; give it one in the tool')
    score = entry.get('modelConfidence')
    track = str(entry.get('trackId') or '')
    return Cuboid(
        class_name=str(name),
        box=(*centre, *size, yaw),
        id=id_of(track),
        track_id='' if id_of(track) else track,
        score=float(score) if is_finite(score) else None,
        attributes=storable({'classValues': entry['classValues']} if entry.get('classValues') else {}, place),
        tilt=tilt,
        where=place,
    )
