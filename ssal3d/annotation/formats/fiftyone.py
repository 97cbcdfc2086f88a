"""FiftyOne: scenes, a JSON lines file and a script that loads them (https://docs.voxel51.com)."""

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ssal3d.annotation.format import Batch
from ssal3d.annotation.formats import load_in_fiftyone as script
from ssal3d.annotation.formats.files import SharedFileFormat, copy, dump, label_files
from ssal3d.annotation.json_lines import listed, member, number
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.pcd import write_pcd
from ssal3d.annotation.rotations import from_euler
from ssal3d.annotation.scans import frame_points
from ssal3d.errors import UserError
from ssal3d.registry import ANNOTATION_FORMATS

SCRIPT = 'load_in_fiftyone.py'


@ANNOTATION_FORMATS.register_module('fiftyone')
class FiftyOneFormat(SharedFileFormat):
    """Plain files for FiftyOne, which runs in an environment of its own with fifty dependencies and a data base.

    Edited boxes come back when the script is run with ``--export``.
    """

    title = 'FiftyOne'

    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write ``scenes/*.fo3d``, ``scenes/*.pcd``, ``samples.jsonl`` and the script."""
        lines = []
        for frame in frames:
            write_pcd(folder / 'scenes' / f'{frame.frame_id}.pcd', frame_points(frame))
            dump(folder / 'scenes' / f'{frame.frame_id}.fo3d', _scene(frame.frame_id))
            lines.append(json.dumps(_row(frame, batch), allow_nan=False) + '\n')
        (folder / script.SAMPLES).write_text(''.join(lines), encoding='utf-8')
        copy(Path(script.__file__), folder / SCRIPT)
        return [f'run python {SCRIPT} --name {batch.name} where FiftyOne is installed; with --export after editing']

    def label_files(self, folder: Path) -> list[Path]:
        """Return what the script exported, else what it reads."""
        return label_files(folder, self.title, f'**/{script.EDITED}', f'**/{script.SAMPLES}')

    def frame_of_file(self, path: Path) -> str:
        """Return no frame: a file holds many."""
        return ''

    def parse_frames(self, path: Path) -> list[tuple[str, Iterable[Cuboid]]]:
        """Read the boxes of all frames, one a line."""
        frames: list[tuple[str, Iterable[Cuboid]]] = []
        for line, text in enumerate(path.read_text(encoding='utf-8-sig').splitlines(), 1):
            place = f'{path}, line {line}'
            try:
                row = json.loads(text)
            except json.JSONDecodeError as error:
                raise UserError(
                    f'{place}, column {error.colno}: not valid JSON ({error.msg}); export it again'
                ) from None
            frames.append((str(member(row, 'frame_id', source=place)), _cuboids(row, place)))
        return frames


def _row(frame: LabelFrame, batch: Batch) -> dict[str, Any]:
    return {
        'frame_id': frame.frame_id,
        'filepath': f'scenes/{frame.frame_id}.fo3d',
        'rank': frame.facts.get('rank'),
        'utility': frame.facts.get('utility'),
        'round': batch.facts.get('round'),
        'tags': ['query'],
        'prelabels': [
            {
                'id': cuboid.id,
                'label': cuboid.class_name,
                'location': list(cuboid.box[:3]),
                'dimensions': list(cuboid.box[3:6]),
                'rotation': [0.0, 0.0, cuboid.box[6]],
                **({} if cuboid.score is None else {'confidence': cuboid.score}),
            }
            for cuboid in frame.cuboids
        ],
    }


def _scene(name: str) -> dict[str, Any]:
    """Return a scene with one point cloud, z upwards: without ``up`` the app lays the street on its side."""
    return {
        **_node('Scene', 'Scene', name),
        'children': [
            {
                **_node('PointCloud', 'lidar', name),
                'children': [],
                'centerGeometry': False,
                'pcdPath': f'{name}.pcd',
                'defaultMaterial': {
                    '_type': 'PointCloudMaterial',
                    'opacity': 1.0,
                    'shadingMode': 'height',
                    'customColor': '#ffffff',
                    'pointSize': 1.0,
                    'attenuateByDistance': False,
                },
                'flagForProjection': True,
            }
        ],
        '__FO3D_VERSION': '1.0',
        'camera': {
            'position': None,
            'lookAt': None,
            'aspect': None,
            'up': 'Z',
            'fov': 50.0,
            'near': 0.1,
            'far': 2000.0,
        },
        'lights': None,
        'background': None,
    }


def _node(kind: str, title: str, frame_id: str) -> dict[str, Any]:
    return {
        '_type': kind,
        'uuid': str(uuid.uuid5(uuid.NAMESPACE_URL, f'{title}/{frame_id}')),
        'name': title,
        'visible': True,
        'position': [0, 0, 0],
        'quaternion': [0, 0, 0, 1],
        'scale': [1, 1, 1],
    }


def _cuboids(row: Any, place: str) -> Iterator[Cuboid]:
    for box in listed(member(row, 'prelabels', source=place), 'prelabels', place):
        yield _cuboid(box, place)


def _cuboid(box: Any, place: str) -> Cuboid:
    centre, size, (x, y, z) = (_triple(box, key, place) for key in ('location', 'dimensions', 'rotation'))
    yaw, tilt = from_euler(x, y, z, 'ZYX')
    identity = str(box.get('id') or '')
    return Cuboid(
        class_name=str(member(box, 'label', source=place)),
        box=(*centre, *size, yaw),
        id=identity,
        tilt=tilt,
        where=place,
    )


def _triple(box: Any, key: str, place: str) -> list[float]:
    values = listed(member(box, key, source=place), key, place)
    if len(values) != 3:
        raise UserError(f'{place}: found {len(values)} numbers in {key}, expected 3')
    return [number(value, key, place) for value in values]
