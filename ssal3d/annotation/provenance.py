"""``ssal3d_export.json``: where an export came from and which boxes it held, without trusting a tool to keep either."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from ssal3d.annotation.model import Cuboid
from ssal3d.data.folder.layout import EXPORT
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, is_file_name, read_json, write_json
from ssal3d.typed import check_fields, check_value, record
from ssal3d.version import __version__

NAME = EXPORT


@dataclass(frozen=True)
class ExportedFrame:
    """What the annotators got of one frame.

    Attributes:
        frame_id: Its id in the pool.
        prelabels: With the class names of the pool.
        file: Its scan.
        load_dim: float32 values a point in a ``.bin`` scan.
        points: Number of points that the annotators see.
        label_sha256: Of the file that holds its boxes, as exported; tells a file that nobody saved.
        facts: Why the query chose it.
    """

    frame_id: str
    prelabels: tuple[Cuboid, ...]
    file: str
    load_dim: int = 4
    points: int = 0
    label_sha256: str = ''
    facts: Mapping[str, Any] = field(default_factory=dict)


class _File(TypedDict):
    """What a file holds beside the fields of an export."""

    classes: Sequence[str]
    frames: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Export:
    """A batch that was exported.

    Attributes:
        tool: Name of the format.
        options: Of the format.
        batch: Name of the batch.
        created: ISO 8601, UTC.
        round: Round of the query.
        classes: Class names of the pool.
        class_map: Names in the tool, where they differ.
        frames: In the order of the query, by frame id.
        pool: Name, size and SHA-256 of the pool.
        labelled_sha256: `pool_digest` of the frames that were labelled before; empty if the export does not say.
        query_sha256: Of ``query.json``; empty without one.
        checkpoint_sha256: Of the query model; empty if the predictions do not say.
        source: Folders, thresholds and versions, for people.
    """

    tool: str
    options: Mapping[str, Any]
    batch: str
    created: str
    round: int
    classes: tuple[str, ...]
    class_map: Mapping[str, str]
    frames: Mapping[str, ExportedFrame]
    pool: Mapping[str, Any]
    labelled_sha256: str = ''
    query_sha256: str = ''
    checkpoint_sha256: str = ''
    source: Mapping[str, Any] = field(default_factory=dict)

    def prelabels_of_class(self) -> dict[str, int]:
        """Return the number of pre-labels of each class."""
        counts = {name: 0 for name in self.classes}
        for frame in self.frames.values():
            for cuboid in frame.prelabels:
                counts[cuboid.class_name] += 1
        return counts

    def write(self, folder: Path) -> None:
        """Write ``ssal3d_export.json`` into a folder."""
        write_json(
            folder / NAME,
            {
                'schema': SCHEMA,
                'tool': self.tool,
                'options': dict(self.options),
                'batch': self.batch,
                'created': self.created,
                'round': self.round,
                'query_sha256': self.query_sha256,
                'checkpoint_sha256': self.checkpoint_sha256,
                'source': dict(self.source),
                'pool': dict(self.pool),
                'labelled_sha256': self.labelled_sha256,
                'classes': list(self.classes),
                'class_map': dict(self.class_map),
                'box': 'gravity_center_xyz_dxdydz_yaw',
                'frames': {frame_id: _frame_json(frame) for frame_id, frame in self.frames.items()},
            },
        )

    @classmethod
    def read(cls, folder: str | Path) -> 'Export':
        """Read ``ssal3d_export.json`` of a folder.

        Raises:
            UserError: If it is missing or malformed.
        """
        path = Path(folder) / NAME
        keys = ('tool', 'options', 'batch', 'created', 'round', 'pool', 'classes', 'class_map', 'frames')
        content = read_json(path, required=keys)
        check_fields(_File, content, str(path))
        classes = tuple(content['classes'])
        frames = {
            key: _read_frame(key, entry, classes, f'{path}: frame {key}') for key, entry in content['frames'].items()
        }
        for name in frames:
            if not is_file_name(name):
                raise UserError(f'{path}: frame id {name!r} is not a file name; export the query again')
        values = {item.name: content[item.name] for item in fields(cls) if item.name in content}
        return record(cls, {**values, 'classes': classes, 'frames': frames}, str(path))


def versions() -> dict[str, str]:
    """Return the versions that an export is made with."""
    return {'ssal3d': __version__, 'python': platform.python_version(), 'numpy': np.__version__}


def _frame_json(frame: ExportedFrame) -> dict[str, Any]:
    return {
        'file': frame.file,
        'load_dim': frame.load_dim,
        'points': frame.points,
        'label_sha256': frame.label_sha256,
        **({'query': dict(frame.facts)} if frame.facts else {}),
        'prelabels': [
            {'id': cuboid.id, 'class': cuboid.class_name, 'score': cuboid.score, 'box': list(cuboid.box)}
            for cuboid in frame.prelabels
        ],
    }


def _read_frame(frame_id: str, entry: Mapping[str, Any], classes: Sequence[str], where: str) -> ExportedFrame:
    try:
        prelabels = tuple(_read_prelabel(row, where) for row in entry['prelabels'])
        values = {name: entry[name] for name in ('load_dim', 'label_sha256') if name in entry}
        frame = ExportedFrame(
            frame_id, prelabels, entry['file'], points=entry['points'], facts=entry.get('query', {}), **values
        )
    except (KeyError, TypeError) as error:
        raise UserError(f'{where}: malformed ({type(error).__name__}: {error}); export the query again') from None
    check_fields(ExportedFrame, vars(frame), where)
    for cuboid in prelabels:
        if len(cuboid.box) != 7 or cuboid.class_name not in classes:
            raise UserError(f'{where}: found the pre-label {cuboid!r}, expected seven numbers and a class of the batch')
    if frame.load_dim < 3 or frame.points < 0:
        raise UserError(
            f'{where}: found {frame.load_dim} values a point and {frame.points} points; export the query again'
        )
    return frame


def _read_prelabel(row: Mapping[str, Any], where: str) -> Cuboid:
    check_value(row['box'], Sequence[float], where, 'box')
    values = {'class_name': row['class'], 'box': tuple(map(float, row['box'])), 'id': row['id'], 'score': row['score']}
    return record(Cuboid, values, where)
