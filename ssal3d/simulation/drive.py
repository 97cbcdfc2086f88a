"""Drives of 20 s through a street, seen every 2 s all around, as in the Waymo pool of the S-SSAL paper.

The street is as in `scene`, but as long as the drive, and filled on the whole length. There are more pedestrians than
on KITTI's streets, and cyclists stay rare.
"""

from dataclasses import replace

import numpy as np

from ssal3d.simulation import passers_by, roadside, traffic
from ssal3d.simulation.plot import Plot
from ssal3d.simulation.scene import Scene, draw_road
from ssal3d.simulation.sequences import Step
from ssal3d.simulation.styles import STYLES

FRAMES = 10  # of a drive: 20 s at 10 Hz, of which every 20th frame is taken
INTERVAL = 2.0  # s between two of them

_STREAM = 31
_SHARES = {'residential': 0.32, 'city': 0.34, 'road': 0.08, 'avenue': 0.22, 'car_park': 0.04}
_STANDING = 0.2  # of the drives: at a light or a kerb
_FASTEST = 13.0  # m/s
_AROUND = 80.0  # m behind the start and beyond the end that are filled
_PIECE = 40.0  # m that are filled at once
_PEDESTRIANS, _CYCLISTS, _TRAFFIC = 1.6, 1.2, 1.3  # times as many as on KITTI's streets
_TAIL = 0.6  # shape of the gamma distribution of a drive's crowd: most have few, some have many


def drive_step_of(seed: int, frame: int) -> Step:
    """Return the place of a frame: every ten frames are a drive."""
    del seed
    return Step(frame - frame % FRAMES, frame % FRAMES, FRAMES)


def build_drive(seed: int, sequence: int) -> Scene:
    """Build the street of a drive.

    Args:
        seed: Of the simulation.
        sequence: Number of the frame that the drive starts with.
    """
    rng = np.random.default_rng([seed, sequence, _STREAM])
    name = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    crowd, riders = rng.gamma(_TAIL, 1 / _TAIL, 2)
    style = STYLES[name]
    style = replace(
        style,
        pedestrians=_PEDESTRIANS * crowd * style.pedestrians,
        cyclists=_CYCLISTS * riders * style.cyclists,
        traffic=_TRAFFIC * style.traffic,
    )
    road = draw_road(style, rng)
    speed = min(rng.uniform(*style.speed), _FASTEST) * (rng.random() > _STANDING)
    ego = (0.0, -style.lane * (int(rng.integers(style.lanes)) + 0.5) + rng.normal(0, 0.15))
    moments = tuple(INTERVAL * step for step in range(FRAMES))
    plot = Plot(road, rng, moments[-1], way=speed * moments[-1], moments=moments)
    plot.reserve_way(speed * np.array(moments), (3.0, 5.0), (ego[1] - 1.2, ego[1] + 1.2))
    crossing = rng.uniform(12, plot.way + 55) if rng.random() < min(2 * style.crossing, 0.9) else None
    if crossing is not None:
        traffic.cross(plot, crossing)
    reached = plot.way + _AROUND
    for start in np.arange(-_AROUND, reached + moments[-1] * style.speed[1], 1.5 * _PIECE):  # others come to meet it
        traffic.drive(plot, style, float(start), speed)
    for start in np.arange(-_AROUND, reached, _PIECE):
        passers_by.walkers(plot, style, float(start))
        passers_by.riders(plot, style, float(start))
    traffic.park(plot, style, -_AROUND)
    for start in np.arange(-_AROUND, reached, 1.5 * _PIECE):
        passers_by.seats(plot, style, float(start))
        passers_by.stands(plot, style, float(start))
    roadside.furnish(plot, style, -_AROUND, crossing)
    return Scene(name, road, list(plot.things), ego, speed, INTERVAL)
