"""Frames of the Waymo Open Dataset , second version: a Parquet file for each component and segment."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ssal3d.data.waymo_frame import TOP, Camera, Laser, WaymoFrame, WaymoLabels
from ssal3d.data.waymo_geometry import uniform_inclinations
from ssal3d.errors import UserError
from ssal3d.typed import fits

REQUIRED = ('lidar', 'lidar_pose', 'lidar_calibration', 'vehicle_pose')
CAMERAS, BOXES = 'camera_calibration', 'lidar_box'  # not needed for LiDAR alone, or for frames without labels

_SEGMENT, _TIME = 'key.segment_context_name', 'key.frame_timestamp_micros'
_LASER, _CAMERA, _OBJECT = 'key.laser_name', 'key.camera_name', 'key.laser_object_id'
_ROWS_AT_A_TIME = 4  # range images are large: a row of the roof's LiDAR holds 5 MB


def read_parquet_frames(
    folder: str | Path, name: str, interval: int = 1, labelled: bool = True
) -> Iterator[WaymoFrame]:
    """Yield every ``interval``-th frame of a segment; a few frames are in memory at a time.

    Args:
        folder: Folder of a split, with a folder for each component.
        name: File name of the segment, the same in all of them.
        interval: Frames 0, ``interval``, 2 ``interval``, ... in the order of time are read.
        labelled: Whether the frames have labels.

    Raises:
        UserError: If a component or column is missing or a file is damaged.
    """
    files = {component: Path(folder) / component / name for component in (*REQUIRED, CAMERAS, BOXES)}
    for component in (*REQUIRED, *((BOXES,) if labelled else ())):
        if not files[component].exists():
            raise UserError(f'{files[component]}: no such file; download the component {component} of this split, too')
    try:
        yield from _frames(files, interval, labelled)
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(
            f'{folder}/*/{name}: not readable as tables of Waymo ({type(error).__name__}: {error}); fetch the files again'
        ) from None


def _frames(files: dict[str, Path], interval: int, labelled: bool) -> Iterator[WaymoFrame]:
    poses = _Table(files['vehicle_pose'], 'VehiclePoseComponent', (_SEGMENT, _TIME), ('world_from_vehicle.transform',))
    times = sorted(poses.keys(_TIME))
    chosen = {time: index for index, time in enumerate(times) if index % interval == 0}
    segment = poses.keys(_SEGMENT)[0]
    if not fits(segment, str) or not all(fits(time, int) for time in times):
        raise UserError(
            f'{files["vehicle_pose"]}: found the segment {segment!r}, expected a name, and times in microseconds'
        )
    matrices = dict(zip(poses.keys(_TIME), poses.column('world_from_vehicle.transform'), strict=True))
    labels = _labels(files[BOXES], set(chosen)) if labelled else {}
    cameras = _cameras(files[CAMERAS]) if files[CAMERAS].exists() else []
    for time, lasers in _lasers(files, set(chosen)):
        yield WaymoFrame(
            segment=segment,
            index=chosen[time],
            timestamp=int(time),
            pose=_matrix(matrices[time], files['vehicle_pose']),
            lasers=lasers,
            cameras=cameras,
            labels=labels.get(time, _no_labels()) if labelled else None,
        )


class _Table:
    """A small component in memory.

    Args:
        path: A Parquet file.
        component: Name of the component's class, which is part of the column names.
        keys: Key columns to read.
        columns: Further columns, without the name of the component.
    """

    def __init__(self, path: Path, component: str, keys: Sequence[str], columns: Sequence[str]) -> None:
        self.component = component
        names = [*keys, *(f'[{component}].{name}' for name in columns)]
        self.table = _open(path, names).read(columns=names)

    def keys(self, name: str) -> list[Any]:
        """Return a key of every row."""
        return self.table[name].to_pylist()

    def column(self, name: str) -> list[Any]:
        """Return a column of the component, a Python object for every row."""
        return self.table[f'[{self.component}].{name}'].to_pylist()


def _open(path: Path, names: Sequence[str]) -> pq.ParquetFile:
    """Open a file and check that it has the columns.

    Raises:
        UserError: If not.
    """
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f'{path}: not readable as Parquet ({error}); fetch the file again') from None
    for name in names:
        if name not in file.schema_arrow.names:
            raise UserError(
                f"{path}: the column '{name}' is missing, found {', '.join(file.schema_arrow.names[:6])}, ...; is this "
                'version 2 of the data set?'
            )
    return file


def _lasers(files: dict[str, Path], times: set[int]) -> Iterator[tuple[int, list[Laser]]]:
    """Yield the LiDARs of each frame as soon as all its rows have been read."""
    calibrations = _calibrations(files['lidar_calibration'])
    keys = _Table(files['lidar'], 'LiDARComponent', (_TIME, _LASER), ()).keys(_TIME)
    missing = Counter(time for time in keys if time in times)
    for time in times - set(missing):
        raise UserError(f'{files["lidar"]}: the frame at {time} has no range image; fetch the file again')
    poses, waiting = _Poses(files['lidar_pose'], times), defaultdict(list)
    images = [f'range_image_return{number}' for number in (1, 2)]
    for time, name, batch, row in _rows(files['lidar'], 'LiDARComponent', images, times):
        returns = [_image(batch, f'[LiDARComponent].{image}', row) for image in images]
        if name not in calibrations:
            raise UserError(f'{files["lidar_calibration"]}: LiDAR {name} is missing; fetch the file again')
        waiting[time].append((name, [image for image in returns if image is not None]))
        missing[time] -= 1
        if not missing[time]:
            pose, measured = poses.of(time), [part for part in waiting.pop(time) if part[1]]
            yield (
                time,
                [_laser(name, returns, calibrations, pose if name == TOP else None) for name, returns in measured],
            )


def _laser(
    name: int, images: list[NDArray[np.float32]], calibrations: dict[int, Any], pose: NDArray[np.float32] | None
) -> Laser:
    extrinsic, inclinations, low, high = calibrations[name]
    rows = uniform_inclinations(low, high, len(images[0])) if inclinations is None else inclinations
    return Laser(name, images, np.asarray(rows, dtype=np.float64)[::-1], extrinsic, pose)


class _Poses:
    """The poses of the roof LiDAR's pixels, read on as far as they are asked for."""

    def __init__(self, path: Path, times: set[int]) -> None:
        self._rows = _rows(path, 'LiDARPoseComponent', ['range_image_return1'], times)
        self._ahead: dict[int, NDArray[np.float32] | None] = {}

    def of(self, time: int) -> NDArray[np.float32] | None:
        """Return the poses in a frame and forget them; None if there are none."""
        while time not in self._ahead:
            row = next(self._rows, None)
            if row is None:
                return None
            if row[1] == TOP:
                self._ahead[row[0]] = _image(row[2], '[LiDARPoseComponent].range_image_return1', row[3])
        return self._ahead.pop(time)


def _rows(
    path: Path, component: str, images: Sequence[str], times: set[int]
) -> Iterator[tuple[int, int, pa.RecordBatch, int]]:
    """Yield time, LiDAR, batch and row in it of the wanted frames, in the order of the file."""
    names = [_TIME, _LASER, *(f'[{component}].{image}.{part}' for image in images for part in ('values', 'shape'))]
    for batch in _open(path, names).iter_batches(batch_size=_ROWS_AT_A_TIME, columns=names):
        keys = zip(batch[_TIME].to_pylist(), batch[_LASER].to_pylist(), strict=True)
        yield from ((time, laser, batch, row) for row, (time, laser) in enumerate(keys) if time in times)


def _image(batch: pa.RecordBatch, name: str, row: int) -> NDArray[np.float32] | None:
    values, shape = batch[f'{name}.values'][row], batch[f'{name}.shape'][row].as_py()
    if not values.is_valid or not shape or not len(values):
        return None
    array = values.values.to_numpy()
    if len(shape) != 3 or array.size != np.prod(shape):
        raise UserError(f'{name}: found {array.size} values, expected the shape {shape}; fetch the file again')
    return array.reshape(shape)


def _calibrations(path: Path) -> dict[int, tuple[NDArray[np.float64], list[float] | None, float, float]]:
    parts = ('extrinsic.transform', *(f'beam_inclination.{part}' for part in ('values', 'min', 'max')))
    table = _Table(path, 'LiDARCalibrationComponent', (_LASER,), parts)
    columns = (table.column(part) for part in parts)
    return {
        name: (_matrix(extrinsic, path), values or None, low, high)
        for name, extrinsic, values, low, high in zip(table.keys(_LASER), *columns, strict=True)
    }


def _cameras(path: Path) -> list[Camera]:
    parts = (*(f'intrinsic.{part}' for part in ('f_u', 'f_v', 'c_u', 'c_v')), 'extrinsic.transform', 'width', 'height')
    table = _Table(path, 'CameraCalibrationComponent', (_CAMERA,), parts)
    return [
        Camera(name, (f_u, f_v, c_u, c_v), _matrix(extrinsic, path), (width, height))
        for name, f_u, f_v, c_u, c_v, extrinsic, width, height in zip(
            table.keys(_CAMERA), *(table.column(part) for part in parts), strict=True
        )
    ]


def _labels(path: Path, times: set[int]) -> dict[int, WaymoLabels]:
    centre, size = (tuple(f'box.{part}.{axis}' for axis in 'xyz') for part in ('center', 'size'))
    parts = (*centre, *size, 'box.heading', 'type', 'difficulty_level.detection', 'num_lidar_points_in_box')
    table = _Table(path, 'LiDARBoxComponent', (_TIME, _OBJECT), parts)
    columns = (table.column(part) for part in parts)
    rows = defaultdict(list)
    for time, name, *values in zip(table.keys(_TIME), table.keys(_OBJECT), *columns, strict=True):
        if time in times:
            rows[time].append((name, values))
    return {
        time: WaymoLabels(
            boxes=np.array([values[:7] for _, values in objects], dtype=np.float64),
            types=np.array([values[7] for _, values in objects], dtype=np.int64),
            levels=np.array([values[8] or 0 for _, values in objects], dtype=np.int64),
            num_points=np.array([values[9] or 0 for _, values in objects], dtype=np.int64),
            ids=[name for name, _ in objects],
        )
        for time, objects in rows.items()
    }


def _no_labels() -> WaymoLabels:
    none = np.zeros(0, np.int64)
    return WaymoLabels(np.zeros((0, 7)), none, none, none, [])


def _matrix(values: Sequence[float] | None, path: Path) -> NDArray[np.float64]:
    matrix = np.array(values or (), dtype=np.float64)
    if matrix.size != 16 or not np.isfinite(matrix).all():
        raise UserError(f'{path}: found a matrix of {matrix.size} numbers, expected 16 finite ones; fetch it again')
    return matrix.reshape(4, 4)
