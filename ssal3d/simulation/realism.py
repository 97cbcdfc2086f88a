"""How far simulated frames are from real ones: one distance for each quantity that detectors live on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssal3d.data.kitti_format import (
    DEFAULT_IMAGE_SIZE,
    camera_boxes_to_lidar,
    camera_image_size,
    in_camera_view,
    read_calibration,
    read_split,
)
from ssal3d.data.kitti_objects import KittiObjects, read_frames, read_objects
from ssal3d.data.scans import read_scan
from ssal3d.errors import UserError
from ssal3d.ops.boxes import points_per_box
from ssal3d.terminal import track

Array = NDArray[np.floating]

CLASSES = ('Car', 'Pedestrian', 'Cyclist')
_SENSOR_HEIGHT = 1.73  # m
_REFERENCE = 20.0  # m; points on an object are compared as if it stood here
_MOST_POINTS = 1_000_000  # about so many points of a data set are compared, taken evenly from all


@dataclass(frozen=True)
class Quantity:
    """A quantity in both data sets.

    Attributes:
        name: With its unit.
        simulated: ``(N,)`` values.
        real: ``(M,)`` values.
        bins: Edges for a histogram.
    """

    name: str
    simulated: Array
    real: Array
    bins: Array

    @cached_property
    def distance(self) -> float:
        """Largest difference of the cumulative distributions (Kolmogorov-Smirnov), in [0, 1]."""
        return largest_difference(self.simulated, self.real)

    @property
    def simulated_mean(self) -> float:
        """Mean of the simulated values."""
        return float(np.mean(self.simulated)) if len(self.simulated) else float('nan')

    @property
    def real_mean(self) -> float:
        """Mean of the real values."""
        return float(np.mean(self.real)) if len(self.real) else float('nan')

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of simulated and real values."""
        return len(self.simulated), len(self.real)


def largest_difference(a: Array, b: Array) -> float:
    """Return the Kolmogorov-Smirnov distance of two samples; 1 if one of them is empty.

    >>> largest_difference(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    0.0
    >>> largest_difference(np.array([0.0, 0.0]), np.array([0.0, 5.0]))
    0.5
    """
    if len(a) == 0 or len(b) == 0:
        return 1.0
    values = np.unique(np.concatenate((a, b)))
    below_a, below_b = (np.searchsorted(np.sort(x), values, side='right') / len(x) for x in (a, b))
    return float(np.abs(below_a - below_b).max())


def compare(
    simulated: str | Path, real: str | Path, real_labels: str | Path | None = None, real_split: str | Path = 'trainval'
) -> list[Quantity]:
    """Compare two data sets in the KITTI layout, in what the camera sees.

    Args:
        simulated: Root of the simulation.
        real: Root of real frames with scans.
        real_labels: Folder of more real ``NNNNNN.txt`` labels, for what needs no scans.
        real_split: List in ``ImageSets``, or the path of a list, of the real frames to use.

    Returns:
        All quantities, the one with the greatest distance first.

    Raises:
        UserError: If a data set or a file is missing.
    """
    first, second = _read(Path(simulated), 'trainval', 'simulated'), _read(Path(real), real_split, 'real')
    labels = _label_values(_frames_of(first)), _label_values(_label_folder(real_labels) or _frames_of(second))
    values = {**_point_values(first), **labels[0]}, {**_point_values(second), **labels[1]}
    quantities = [Quantity(name, values[0][name], values[1][name], bins) for name, bins in _BINS.items()]
    return sorted(quantities, key=lambda quantity: -quantity.distance)


def points_at_distance(frames: list['_Frame'], name: str) -> tuple[Array, Array]:
    """Return ``(N,)`` distances in metres and numbers of points of all objects of a class."""
    distance = [np.hypot(f.boxes[:, 0], f.boxes[:, 1])[_clear(f, name)] for f in frames]
    points = [f.counts[_clear(f, name)] for f in frames]
    return np.concatenate(distance), np.concatenate(points)


@dataclass(frozen=True)
class _Frame:
    points: Array  # (N, 4) in the camera's view
    objects: KittiObjects  # without DontCare
    boxes: Array  # (K, 7) in the LiDAR frame
    counts: NDArray[np.integer]  # (K,) points in the boxes


def _read(root: Path, split: str | Path, kind: str) -> list[_Frame]:
    path = Path(split) if Path(split).suffix else root / 'ImageSets' / f'{split}.txt'
    return [_read_frame(root / 'training', frame) for frame in track(read_split(path), f'reading {kind} frames')]


def _read_frame(folder: Path, frame: str) -> _Frame:
    calibration = read_calibration(folder / 'calib' / f'{frame}.txt')
    objects = read_objects(folder / 'label_2' / f'{frame}.txt')
    objects = objects[objects.names != 'DontCare']
    path = folder / 'velodyne' / f'{frame}.bin'
    if not path.exists():
        raise UserError(f'{path}: no such file; frames to compare need scans')
    points = read_scan(path)
    points = points[in_camera_view(points, calibration, camera_image_size(calibration) or DEFAULT_IMAGE_SIZE)]
    boxes = camera_boxes_to_lidar(objects, calibration)
    return _Frame(points, objects, boxes, points_per_box(points, boxes))


def _frames_of(frames: list[_Frame]) -> list[KittiObjects]:
    return [frame.objects for frame in frames]


def _label_folder(folder: str | Path | None) -> list[KittiObjects] | None:
    if folder is None:
        return None
    names = sorted(path.stem for path in Path(folder).glob('*.txt'))
    if not names:
        raise UserError(f'{folder}: no label files; name a folder of NNNNNN.txt')
    frames = read_frames(folder, names)
    return [frame[frame.names != 'DontCare'] for frame in map(frames.__getitem__, range(len(frames)))]


def _point_values(frames: list[_Frame]) -> dict[str, Array]:
    points = np.concatenate([frame.points for frame in frames])
    points = points[:: max(len(points) // _MOST_POINTS, 1)]
    # Some scans in circulation have lost their intensity: it is 0 throughout.
    bright = np.concatenate([frame.points[:, 3] for frame in frames if frame.points[:, 3].any()] or [np.zeros(0)])
    bright = bright[:: max(len(bright) // _MOST_POINTS, 1)]
    values = {
        'points in view per frame': np.array([float(len(frame.points)) for frame in frames]),
        'range of points, m': np.linalg.norm(points[:, :3], axis=1),
        'height of points, m': points[:, 2] + _SENSOR_HEIGHT,
        'intensity': bright,
    }
    for name in CLASSES:
        distance, counts = points_at_distance(frames, name)
        values[f'{name}: points at 20 m'] = counts * (distance / _REFERENCE) ** 2
    return values


def _label_values(frames: Sequence[KittiObjects]) -> dict[str, Array]:
    values: dict[str, Array] = {}
    for name in CLASSES:
        chosen = [frame[frame.names == name] for frame in frames]
        size = np.concatenate([objects.dimensions for objects in chosen])
        place = np.concatenate([objects.location for objects in chosen])
        turn = np.concatenate([objects.rotation_y for objects in chosen])
        values[f'{name}s per frame'] = np.array([float(len(objects)) for objects in chosen])
        for column, side in enumerate(('height', 'width', 'length')):
            values[f'{name}: {side}, m'] = size[:, column]
        values[f'{name}: distance, m'] = np.hypot(place[:, 0], place[:, 2])
        values[f'{name}: to the right, m'] = place[:, 0]
        values[f'{name}: below the camera, m'] = place[:, 1]
        values[f'{name}: angle to the view, rad'] = np.abs((turn + np.pi) % np.pi - np.pi / 2)
        values[f'{name}: occlusion level'] = np.concatenate([objects.occluded for objects in chosen]).astype(float)
        values[f'{name}: truncation'] = np.concatenate([objects.truncated for objects in chosen])
    return values


def _clear(frame: _Frame, name: str) -> NDArray[np.bool_]:
    return (frame.objects.names == name) & (frame.objects.occluded == 0) & (frame.objects.truncated < 0.15)


_BINS: dict[str, Array] = {
    'points in view per frame': np.linspace(10_000, 22_000, 25),
    'range of points, m': np.linspace(0, 80, 41),
    'height of points, m': np.linspace(-1, 4, 41),
    'intensity': np.linspace(0, 1, 51),
}
for _name in CLASSES:
    _BINS |= {
        f'{_name}: points at 20 m': np.linspace(0, {'Car': 600, 'Pedestrian': 250, 'Cyclist': 250}[_name], 31),
        f'{_name}s per frame': np.arange(-0.5, 15),
        f'{_name}: height, m': np.linspace(1.2, 2.2, 31),
        f'{_name}: width, m': np.linspace(0.2, 2.2, 31),
        f'{_name}: length, m': np.linspace(0.2, 5.5, 31),
        f'{_name}: distance, m': np.linspace(0, 80, 33),
        f'{_name}: to the right, m': np.linspace(-30, 30, 31),
        f'{_name}: below the camera, m': np.linspace(0, 3.5, 31),
        f'{_name}: angle to the view, rad': np.linspace(0, np.pi / 2, 19),
        f'{_name}: occlusion level': np.arange(-0.5, 4),
        f'{_name}: truncation': np.linspace(0, 1, 21),
    }
