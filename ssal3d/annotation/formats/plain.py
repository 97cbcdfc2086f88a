"""Plain JSON and CSV for tools and scripts of one's own; both hold boxes exactly as ssal3d does."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssal3d.annotation.format import Batch
from ssal3d.annotation.formats.files import SharedFileFormat, label_files, storable
from ssal3d.annotation.json_lines import listed, member, number, read_located_json, where
from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.rotations import wrapped
from ssal3d.annotation.scans import frame_points
from ssal3d.data.folder.limits import MOST_YAW
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, atomic_path
from ssal3d.registry import ANNOTATION_FORMATS

BOX = ('x', 'y', 'z', 'dx', 'dy', 'dz', 'yaw')
COLUMNS = ('frame_id', 'class', *BOX, 'id', 'track_id', 'score')


def frame_json(frame: LabelFrame) -> str:
    """Return a frame's boxes as the text of a JSON file, one line a box.

    >>> print(frame_json(LabelFrame('7', (Cuboid('Car', (9.0, 0.0, -1.0, 4.0, 1.7, 1.5, 0.1), id='3'),))), end='')
    {"schema": 1, "frame_id": "7", "boxes": [
     {"class": "Car", "box": [9.0, 0.0, -1.0, 4.0, 1.7, 1.5, 0.1], "id": "3"}
    ]}
    """
    lines = [f' {json.dumps(_entry(cuboid), allow_nan=False)}' for cuboid in frame.cuboids]
    head = f'{{"schema": {SCHEMA}, "frame_id": {json.dumps(frame.frame_id)}, "boxes": ['
    return '\n'.join((head, ',\n'.join(lines), ']}\n')) if lines else f'{head}]}}\n'


def write_frame_json(path: Path, frame: LabelFrame) -> None:
    """Write a frame's boxes atomically as plain JSON."""
    with atomic_path(path) as temporary:
        temporary.write_text(frame_json(frame), encoding='utf-8')


@ANNOTATION_FORMATS.register_module('json')
class JsonFormat(SharedFileFormat):
    """One JSON file a frame: ``{"schema": 1, "frame_id": ..., "boxes": [{"class", "box": [7 numbers], ...}]}``."""

    title = 'scripts of your own'

    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write ``labels/<frame id>.json`` and ``lidar/<frame id>.bin``."""
        for frame in frames:
            _write_scan(frame, folder)
            write_frame_json(folder / 'labels' / f'{frame.frame_id}.json', frame)
        return []

    def label_files(self, folder: Path) -> list[Path]:
        """Return the files in ``labels``, else in the folder itself."""
        return label_files(folder, self.title, 'labels/*.json', '*.json', '*/labels/*.json')

    def parse_frames(self, path: Path) -> list[tuple[str, Iterable[Cuboid]]]:
        """Read one frame, or several from a file with ``"frames": [...]``."""
        content, source = read_located_json(path), str(path)
        entries = content['frames'] if isinstance(content, Mapping) and 'frames' in content else [content]
        return [(_frame_id(entry), _cuboids(entry, source)) for entry in listed(entries, 'frames', source)]


@ANNOTATION_FORMATS.register_module('csv')
class CsvFormat(SharedFileFormat):
    """One table a frame (or one for all) with the columns ``frame_id,class,x,y,z,dx,dy,dz,yaw,id,track_id,score``.

    A frame without boxes is a row with nothing but its ``frame_id``.
    """

    title = 'spreadsheets, scripts of your own'

    def export(self, frames: Sequence[LabelFrame], folder: Path, batch: Batch) -> list[str]:
        """Write ``labels/<frame id>.csv`` and ``lidar/<frame id>.bin``."""
        for frame in frames:
            _write_scan(frame, folder)
            with atomic_path(folder / 'labels' / f'{frame.frame_id}.csv') as temporary:
                temporary.write_text(_table(frame), encoding='utf-8')
        return []

    def label_files(self, folder: Path) -> list[Path]:
        """Return the files in ``labels``, else in the folder itself."""
        return label_files(folder, self.title, 'labels/*.csv', '*.csv', '*/labels/*.csv')

    def parse_frames(self, path: Path) -> list[tuple[str, Iterable[Cuboid]]]:
        """Read all frames of one table; a row without a frame may belong to any of them, so it spoils the table."""
        rows: dict[str, list[tuple[str, Mapping[str, str | None]]]] = {}
        try:
            table = csv.DictReader(io.StringIO(path.read_text(encoding='utf-8-sig')))
            missing = [name for name in ('frame_id', 'class', *BOX) if name not in (table.fieldnames or ())]
            if missing:
                raise UserError(f"{path}, line 1: column '{missing[0]}' is missing; expected {','.join(COLUMNS)}")
            for row in table:
                place = f'{path}, line {table.line_num}'
                rows.setdefault(_cell(row, 'frame_id', place), []).append((place, row))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f'{path}: not readable as CSV ({error}); save it as UTF-8 with commas') from None
        return [(frame_id, _cuboids_of_rows(found)) for frame_id, found in rows.items()]


def _write_scan(frame: LabelFrame, folder: Path) -> None:
    path = folder / 'lidar' / f'{frame.frame_id}.bin'
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(frame_points(frame).astype('<f4').tobytes())


def _entry(cuboid: Cuboid) -> dict[str, Any]:
    entry: dict[str, Any] = {'class': cuboid.class_name, 'box': list(cuboid.box)}
    for key, value in (('id', cuboid.id), ('track_id', cuboid.track_id), ('attributes', dict(cuboid.attributes))):
        if value:
            entry[key] = value
    if cuboid.score is not None:
        entry['score'] = round(cuboid.score, 4)
    return entry


def _frame_id(entry: Any) -> str:
    return _text(entry, 'frame_id') if isinstance(entry, Mapping) else ''


def _cuboids(entry: Any, source: str) -> Iterator[Cuboid]:
    member(entry, 'frame_id', source=source)
    for box in listed(member(entry, 'boxes', source=source), 'boxes', where(entry, source)):
        yield _cuboid(box, source)


def _cuboid(entry: Any, source: str) -> Cuboid:
    place = where(entry, source)
    values = listed(member(entry, 'box', source=source), 'box', place)
    if len(values) != len(BOX):
        raise UserError(f'{place}: found {len(values)} numbers in box, expected {len(BOX)}: {", ".join(BOX)}')
    box = [number(value, name, place) for name, value in zip(BOX, values)]
    score, attributes = entry.get('score'), entry.get('attributes', {})
    if not isinstance(attributes, Mapping):
        raise UserError(f'{place}: found {attributes!r} as attributes, expected an object')
    return Cuboid(
        class_name=str(member(entry, 'class', source=source)),
        box=(*box[:6], _yaw(box[6], place)),
        id=_text(entry, 'id'),
        track_id=_text(entry, 'track_id'),
        score=None if score is None else number(score, 'score', place),
        attributes=storable(attributes, place),
        where=place,
    )


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return '' if value is None else str(value)


def _table(frame: LabelFrame) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    for cuboid in frame.cuboids:
        score = '' if cuboid.score is None else round(cuboid.score, 4)
        writer.writerow((frame.frame_id, cuboid.class_name, *cuboid.box, cuboid.id, cuboid.track_id, score))
    if not frame.cuboids:
        writer.writerow((frame.frame_id, *[''] * (len(COLUMNS) - 1)))
    return text.getvalue()


def _cuboids_of_rows(rows: Iterable[tuple[str, Mapping[str, str | None]]]) -> Iterator[Cuboid]:
    for place, row in rows:
        if any((row.get(name) or '').strip() for name in ('class', *BOX)):
            yield _cuboid_of_row(row, place)


def _cuboid_of_row(row: Mapping[str, str | None], place: str) -> Cuboid:
    box = [_float(_cell(row, name, place), name, place) for name in BOX]
    score = (row.get('score') or '').strip()
    return Cuboid(
        class_name=_cell(row, 'class', place),
        box=(*box[:6], _yaw(box[6], place)),
        id=(row.get('id') or '').strip(),
        track_id=(row.get('track_id') or '').strip(),
        score=_float(score, 'score', place) if score else None,
        where=place,
    )


def _cell(row: Mapping[str, str | None], name: str, place: str) -> str:
    value = (row.get(name) or '').strip()
    if not value:
        raise UserError(f"{place}: column '{name}' is empty; fill it, or all but frame_id empty for no boxes")
    return value


def _float(text: str, name: str, place: str) -> float:
    try:
        return number(float(text), name, place)
    except ValueError:
        raise UserError(f"{place}: found {name} '{text}', expected a number with a point") from None


def _yaw(value: float, place: str) -> float:
    if abs(value) > MOST_YAW:
        raise UserError(f'{place}: found yaw {value:g}, expected radians; divide degrees by 57.29578')
    return wrapped(value)
