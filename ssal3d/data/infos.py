"""MMDetection3D's annotation files ("infos", format v2): one dictionary per frame, read without trusting the file.

These files are pickles: `ssal3d.plain_pickle`.
"""

import io
import json
import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from ssal3d.errors import UserError, one_line
from ssal3d.fileio import atomic_path, parse_json
from ssal3d.plain_pickle import load_plain
from ssal3d.typed import check_fields, fits

# What a frame's sensors deliver. Everything else in a frame is annotation, or might be.
SENSOR_KEYS = frozenset(
    {
        *('sample_idx', 'token', 'timestamp', 'sequence', 'context_name', 'ego2global', 'plane'),
        *('images', 'image_sweeps', 'lidar_points', 'lidar_sweeps', 'radar_points'),
    }
)


class _File(TypedDict):
    """What an annotation file holds."""

    metainfo: Mapping[str, Any]
    data_list: Sequence[Mapping[str, Any]]


def read_infos(path: str | Path) -> dict[str, Any]:
    """Read an annotation file, a pickle or (ending in ``.json``) the same content as JSON.

    Args:
        path: For instance ``data/kitti/kitti_infos_train.pkl``.

    Returns:
        ``{'metainfo': {...}, 'data_list': [one dictionary per frame]}``.

    Raises:
        UserError: If the file is missing, is damaged, has another format or names anything but plain data.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        infos = parse_json(content.decode(), path) if path.suffix == '.json' else load_plain(io.BytesIO(content))
    except FileNotFoundError:
        raise UserError(f'{path}: no such file; make it with `ssal3d create-data`') from None
    except UserError as error:
        raise UserError(f'{path}: {error}') from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(
            f'{path}: not a readable annotation file ({type(error).__name__}: {one_line(error)}); convert the data again'
        ) from None
    _check_layout(path, infos)
    return infos


def write_infos(path: str | Path, infos: dict[str, Any]) -> None:
    """Write an annotation file atomically, as plain builtins; equal content gives equal bytes.

    Args:
        path: A name ending in ``.pkl``, or ``.json`` for JSON.
        infos: ``{'metainfo': {...}, 'data_list': [...]}``; NumPy arrays and scalars become lists and numbers.
    """
    path, plain = Path(path), _plain(infos, {})
    _check_layout(path, plain)
    with atomic_path(path) as temporary:
        if path.suffix == '.json':
            temporary.write_text(json.dumps(plain) + '\n')
        else:
            temporary.write_bytes(pickle.dumps(plain, protocol=4))


def frame_id(info: dict[str, Any]) -> str:
    """Return a frame's id: the stem of its LiDAR file name.

    >>> frame_id({'lidar_points': {'lidar_path': 'training/velodyne_reduced/000123.bin'}})
    '000123'
    """
    return Path(info['lidar_points']['lidar_path']).stem


def frame_ids(infos: dict[str, Any], source: str | Path = 'infos') -> list[str]:
    """Return the ids of all frames in file order.

    Raises:
        UserError: If an id occurs twice.
    """
    ids = [frame_id(info) for info in infos['data_list']]
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise UserError(f'{source}: frame {twice} is listed twice; LiDAR file names must be unique')
    return ids


def check_instances(source: str | Path, frames: Iterable[dict[str, Any]], boxes: bool = True) -> None:
    """Check the annotations of labelled frames; those of other frames are nobody's business.

    Args:
        source: The annotation file, for the message.
        frames: Frames of `read_infos` whose annotations will be used.
        boxes: Whether their boxes will be, or only their labels.

    Raises:
        UserError: If one is no annotation; names the frame.
    """
    lists = [(info, key) for info in frames for key in ('instances', 'empty_instances') if key in info]
    are_lists = all(isinstance(info[key], list | tuple) for info, key in lists)
    if are_lists and _are_annotations([row for info, key in lists for row in info[key]], boxes):
        return
    for info, key in lists:
        rows = info[key]
        if not isinstance(rows, list | tuple) or not _are_annotations(rows, boxes):
            raise UserError(
                f'{source}: frame {frame_id(info)} has {key} that are no annotations, expected dictionaries with a whole '
                'number as bbox_label_3d and seven finite numbers or more as bbox_3d; convert the data again'
            )


def _are_annotations(rows: Sequence[Any], boxes: bool) -> bool:
    if not all(isinstance(row, dict) and 'bbox_label_3d' in row for row in rows):
        return False
    try:
        for key in ('bbox_label_3d', 'bbox_label', 'num_lidar_pts'):
            values = [row[key] for row in rows if key in row]
            if not all(issubclass(kind, int | np.integer) and kind is not bool for kind in set(map(type, values))):
                return False
            np.array(values, dtype=np.int64)  # raises if one is too large
        found = np.array([row['bbox_3d'][:7] for row in rows if boxes], dtype=np.float64)
    except (TypeError, ValueError, OverflowError, KeyError):
        return False
    return found.size == 7 * len(found) and bool(np.isfinite(found).all())


def without_annotations(info: dict[str, Any], keep: Iterable[str] = ()) -> dict[str, Any]:
    """Return a frame with nothing but its sensors' data (`SENSOR_KEYS`) and the keys in ``keep``."""
    allowed = SENSOR_KEYS.union(keep)
    return {key: value for key, value in info.items() if key in allowed}


def _check_layout(path: Path, infos: object) -> None:
    if isinstance(infos, list):
        raise UserError(
            f'{path}: found a bare list, expected metainfo and data_list; this is the format before MMDetection3D 1.1 '
            '(or OpenPCDet), make the file again with `ssal3d create-data`'
        )
    if not isinstance(infos, dict) or not {'metainfo', 'data_list'} <= set(infos):
        found = sorted(map(str, infos))[:5] if isinstance(infos, dict) else type(infos).__name__
        raise UserError(f'{path}: found {found}, expected a dictionary with metainfo and data_list; convert it again')
    check_fields(_File, infos, str(path))
    for position, info in enumerate(infos['data_list']):
        name = _lidar_path(info)
        if not isinstance(name, str) or Path(name).stem in ('', '..'):
            raise UserError(f'{path}: entry {position} has no lidar_points.lidar_path; convert the data again')
        if not Path(name).stem.isprintable():
            raise UserError(
                f'{path}: entry {position} has the lidar_path {name!r}, expected signs that can be printed; rename the scan '
                'and convert the data again'
            )
    categories = infos['metainfo'].get('categories', {})
    if not fits(categories, Mapping[str, int]):
        raise UserError(f'{path}: found the categories {categories!r}, expected labels by class name; convert it again')


def _lidar_path(info: dict[str, Any]) -> object:
    points = info.get('lidar_points')
    return points.get('lidar_path') if isinstance(points, dict) else None


def _plain(value: Any, strings: dict[str, str]) -> Any:
    """Copy ``value`` into builtins, with one object per distinct string.

    The pickle of equal content would otherwise depend on which equal strings happen to be the same object.
    """
    if isinstance(value, str):
        return strings.setdefault(value, str(value))
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), strings)
    if isinstance(value, dict):
        return {_plain(key, strings): _plain(entry, strings) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, strings) for entry in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    raise TypeError(f'infos hold plain data only, found {type(value).__name__}')
