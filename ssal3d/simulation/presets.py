"""Which sensor looks at the street: beams, azimuth step and view of each preset."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ssal3d.errors import unknown_name

Array = NDArray[np.floating]

# Raise it with every change that alters the bytes of a simulated frame.
VERSION = 1


@dataclass(frozen=True)
class Sensor:
    """A spinning LiDAR.

    Attributes:
        elevations: ``(B,)`` beam elevations in degrees, falling; positive looks up.
        azimuth_step: Degrees between two firings of a beam.
        view: ``camera`` keeps what the camera sees plus a margin, ``full`` the whole turn.
        margin: Degrees kept around the camera's view.
        height: Metres above the road.
        max_range: Metres.
        range_noise: Standard deviation of the range in metres.
        layout: Of the data set: ``kitti``, or ``waymo`` with drives of 20 s and labels all around.
        mount: Place in the frame of the points, metres; with ``waymo`` that of the vehicle.
    """

    elevations: tuple[float, ...]
    azimuth_step: float
    view: Literal['camera', 'full'] = 'camera'
    margin: float = 2.0  # degrees
    height: float = 1.73  # m, KITTI's recording platform
    max_range: float = 120.0  # m
    range_noise: float = 0.02  # m
    layout: Literal['kitti', 'waymo'] = 'kitti'
    mount: tuple[float, float, float] = (0.0, 0.0, 0.0)


def _hdl64() -> tuple[float, ...]:
    """Velodyne HDL-64E: 32 lasers from +2 degrees in steps of 1/3, 32 from -8.83 degrees in steps of 1/2."""
    upper = 2.0 - np.arange(32) / 3  # degrees: 2 ... -8.33
    lower = -8.83 - np.arange(32) / 2  # degrees: -8.83 ... -24.33
    return tuple(np.round(np.concatenate((upper, lower)), 4).tolist())


def _even(first: float, last: float, count: int) -> tuple[float, ...]:
    return tuple(np.round(np.linspace(first, last, count), 4).tolist())


PRESETS = {
    'kitti': Sensor(_hdl64(), azimuth_step=0.1728),  # 10 Hz: 2083 firings a turn
    'kitti-360': Sensor(_hdl64(), azimuth_step=0.1728, view='full'),  # as KITTI's raw scans
    '32-beam': Sensor(_even(10.67, -30.67, 32), azimuth_step=0.2),  # HDL-32E's vertical field
    'waymo': Sensor(  # the roof LiDAR of Waymo's vehicles; 2650 firings a turn
        _even(2.4, -17.6, 64),
        azimuth_step=360 / 2650,
        view='full',
        height=2.18,
        max_range=75.0,
        layout='waymo',
        mount=(1.43, 0.0, 2.18),
    ),
    '128-beam': Sensor(_even(15.0, -25.0, 128), azimuth_step=0.2),  # the vertical field of 128-beam roof sensors
}


def sensor_preset(name: str) -> Sensor:
    """Return the sensor of a preset.

    Raises:
        UserError: If there is no such preset.
    """
    if name not in PRESETS:
        raise unknown_name('preset', name, list(PRESETS))
    return PRESETS[name]
