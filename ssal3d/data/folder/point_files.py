"""Scans in the formats that people have: flat binary, NumPy, PCD and PLY, read into columns of one meaning each."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.arrays import load_array
from ssal3d.data.folder.pcd_header import check_header
from ssal3d.data.scan_layout import foreign_format, likely_width
from ssal3d.data.scans import check_scan_size
from ssal3d.errors import UserError, one_line, unknown_name

# What the columns are called in files; the short names of the command line come first.
MEANINGS = {
    'x': ('x',),
    'y': ('y',),
    'z': ('z',),
    'i': ('i', 'intensity', 'intensities', 'reflectivity', 'reflectance', 'remission', 'signal'),
    't': ('t', 'time', 'timestamp', 'time_offset', 'offset_time', 'relative_time'),
    'r': ('r', 'ring', 'channel', 'laser_id', 'line'),
}
SKIP = '_'
USUAL = ('x', 'y', 'z', 'i')
SUFFIXES = ('.bin', '.npy', '.pcd', '.ply')
_HEADER = 4096  # bytes in which a header says how many points follow
_CLOUDCOMPARE = 'scalar_'  # stands before the names of its columns in PLY files
_LARGE_TIME = 1e4  # seconds since an epoch lose their fractions in float32


@dataclass(frozen=True)
class ScanColumns:
    """Which values of a point are kept.

    Attributes:
        kept: Meanings of the columns of the result, beginning with x, y, z, i.
        in_file: Meanings of the values of a point, `SKIP` for those left out; None takes the first four. Files that
            name their columns (`.pcd`, `.ply`) are read by these names where they mean the same.
        load_dim: Values of a point in `.bin` files; None tells by the numbers.
    """

    kept: tuple[str, ...] = USUAL
    in_file: tuple[str, ...] | None = None
    load_dim: int | None = None


def choose_columns(names: Sequence[str] | None, load_dim: int | None) -> ScanColumns:
    """Turn the options of the command line into columns.

    Args:
        names: Meaning of every value of a point, in the order of the file, e.g. ``x y z i t``; `SKIP` leaves one out.
        load_dim: Values of a point in the file.

    Raises:
        UserError: If a name is unknown or given twice, a coordinate is missing, or the numbers disagree.

    >>> choose_columns(['x', 'y', 'z', 'intensity', '_', 't'], None).kept
    ('x', 'y', 'z', 'i', 't')
    """
    if names is None:
        return ScanColumns(load_dim=load_dim)
    meant = tuple(_meaning(name) for name in names)
    for name in meant:
        if name != SKIP and meant.count(name) > 1:
            raise UserError(f'--columns: {name!r} stands twice in {" ".join(names)}; name every value once, or {SKIP}')
    missing = [axis for axis in 'xyz' if axis not in meant]
    if missing:
        raise UserError(f'--columns: found {" ".join(names)}, expected x, y and z among them')
    if load_dim is not None and load_dim != len(meant):
        raise UserError(f'--columns: found {len(meant)} names, expected {load_dim} as --load-dim says')
    extra = tuple(name for name in meant if name not in (*USUAL, SKIP))
    return ScanColumns((*USUAL, *extra), meant, len(meant))


def read_points(path: Path, columns: ScanColumns) -> NDArray[np.float32]:
    """Read a scan.

    Args:
        path: A file with one of `SUFFIXES`.
        columns: What to keep.

    Returns:
        ``(N, F)`` in the order of ``columns.kept``; intensities are 0 where the file has none.

    Raises:
        UserError: If the file is missing, damaged, or lacks a column.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise unknown_name('format of a scan', path.suffix, list(SUFFIXES))
    try:
        return reader(path, columns)
    except FileNotFoundError:
        raise UserError(f'{path}: no such file; copy the scan again or leave the frame out') from None
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror or error}); copy the scan again') from None


def _read_flat(path: Path, columns: ScanColumns) -> NDArray[np.float32]:
    content = path.read_bytes()
    check_scan_size(path, len(content), 1)
    flat = np.frombuffer(content, dtype='<f4')
    foreign = foreign_format(flat[: len(flat) // 4 * 4].reshape(-1, 4))
    if foreign:
        raise UserError(f'{path}: the file is {foreign} under another name; give it its own suffix')
    width = columns.load_dim or _width_of(flat, path)
    check_scan_size(path, len(content), width)
    return _by_position(flat.reshape(-1, width), columns, path)


def _width_of(flat: NDArray[np.float32], path: Path) -> int:
    width = likely_width(flat.reshape(-1, 1))
    if width is None:
        raise UserError(f'{path}: the numbers do not tell how many values a point has; say it with --load-dim')
    return width


def _read_npy(path: Path, columns: ScanColumns) -> NDArray[np.float32]:
    points = load_array(path, 'save it with numpy.save')
    if points.dtype.names:
        return _by_name({name: points[name] for name in points.dtype.names}, columns, path)
    if points.ndim != 2 or points.dtype.kind not in 'fiu':
        raise UserError(
            f'{path}: found an array of shape {points.shape} and type {points.dtype}, expected (N, values) numbers'
        )
    if columns.load_dim is not None and points.shape[1] != columns.load_dim:
        raise UserError(f'{path}: found {points.shape[1]} values a point, expected {columns.load_dim}')
    return _by_position(points, columns, path)


def _read_pcd(path: Path, columns: ScanColumns) -> NDArray[np.float32]:
    from pypcd4 import PointCloud

    try:
        promised = check_header(path)
        cloud = PointCloud.from_path(path)
        fields = {name: np.asarray(cloud.numpy([name])[:, 0], np.float64) for name in cloud.fields if name != SKIP}
        _check_count(fields, promised)
    except OSError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise UserError(f'{path}: not a readable PCD file ({type(error).__name__}: {one_line(error)})') from None
    return _by_name(fields, columns, path)


def _read_ply(path: Path, columns: ScanColumns) -> NDArray[np.float32]:
    from trimesh.exchange.ply import load_ply

    try:
        with open(path, 'rb') as file:
            vertices = load_ply(file)['metadata']['_ply_raw']['vertex']['data']
        fields = _named_columns(vertices)
        _check_count(fields, _promised(path, rb'^element\s+vertex\s+(\d+)'))
    except OSError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise UserError(f'{path}: not a readable PLY file ({type(error).__name__}: {one_line(error)})') from None
    return _by_name(fields, columns, path)


_READERS: dict[str, Callable[[Path, ScanColumns], NDArray[np.float32]]] = {
    '.bin': _read_flat,
    '.npy': _read_npy,
    '.pcd': _read_pcd,
    '.ply': _read_ply,
}


def _named_columns(vertices: Any) -> dict[str, NDArray]:
    """Return the vertex properties of a PLY file: a dictionary of columns if it is ASCII, else a structured array."""
    names = vertices.keys() if isinstance(vertices, dict) else vertices.dtype.names
    return {name: np.asarray(vertices[name], dtype=np.float64).reshape(-1) for name in names}


def _promised(path: Path, pattern: bytes) -> int:
    """Return the number of points that a header gives."""
    with open(path, 'rb') as file:
        match = re.search(pattern, file.read(_HEADER), re.MULTILINE)
    if match is None:
        raise ValueError('the header gives no number of points')
    return int(match[1])


def _check_count(fields: dict[str, NDArray], promised: int) -> None:
    """A text file that was cut reads as a shorter cloud."""
    count = min((len(values) for values in fields.values()), default=0)
    if count != promised:
        raise ValueError(f'found {count} points, expected {promised} as the header says; the file is cut')


def _by_position(points: NDArray, columns: ScanColumns, path: Path) -> NDArray[np.float32]:
    width = points.shape[1]
    if width < 3:
        raise UserError(f'{path}: found {width} values a point, expected at least x, y and z')
    names = columns.in_file or (*USUAL, *(SKIP,) * width)[:width]
    return _by_name({name: points[:, position] for position, name in enumerate(names) if name != SKIP}, columns, path)


def _by_name(fields: dict[str, NDArray], columns: ScanColumns, path: Path) -> NDArray[np.float32]:
    lower = {name.lower().removeprefix(_CLOUDCOMPARE): values for name, values in fields.items()}
    if columns.in_file and len(columns.in_file) == len(fields) and not _are_named(lower, columns):
        lower = dict(zip(columns.in_file, fields.values(), strict=True))
    chosen: list[NDArray] = []
    for meaning in columns.kept:
        found = next((lower[name] for name in MEANINGS[meaning] if name in lower), None)
        if found is None and meaning != 'i':
            raise UserError(f'{path}: no column {meaning!r} among {", ".join(fields)}; name others with --columns')
        if found is None:
            found = np.zeros(len(chosen[0]))
        chosen.append(_short_times(found) if meaning == 't' else found)
    with np.errstate(over='ignore'):  # what is no float32 becomes infinite, and is counted as that
        return np.stack([np.asarray(values, dtype=np.float64) for values in chosen], axis=1).astype(np.float32)


def _are_named(fields: dict[str, NDArray], columns: ScanColumns) -> bool:
    """Whether a file names all columns that are asked for."""
    meant = set(columns.in_file or ()) - {SKIP}
    return all(any(name in fields for name in MEANINGS[meaning]) for meaning in meant)


def _short_times(values: NDArray) -> NDArray[np.float64]:
    """Count times from the first point of the scan if they count from an epoch: float32 would lose the differences."""
    times = np.asarray(values, dtype=np.float64)
    return times - np.nanmin(times) if len(times) and np.nanmax(np.abs(times)) > _LARGE_TIME else times


def _meaning(name: str) -> str:
    if name == SKIP:
        return name
    meaning = next((short for short, names in MEANINGS.items() if name.lower() in names), None)
    if meaning is None:
        raise unknown_name('column', name, [*MEANINGS, SKIP])
    return meaning
