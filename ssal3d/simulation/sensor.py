"""From a street to a scan: rays, returns, loss, noise, intensity."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ssal3d.simulation.camera import within_view
from ssal3d.simulation.materials import OPTICS
from ssal3d.simulation.mesh import Mesh
from ssal3d.simulation.presets import Sensor
from ssal3d.simulation.ray_casting import Caster

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

_NOTHING = -1
_MIXED_SHARE = 0.25  # of the returns at an edge that hit both surfaces
_MIXED_GAP = (0.15, 2.5)  # m between the surfaces: nearer is no edge, farther are two separate returns
_FADING = 55.0  # m over which the intensity falls to 1 / e beyond the range up to which the sensor corrects it
_CORRECTED = 25.0  # m
_FAINT = (0.15, 10.0, 60.0)  # share of returns of intensity 0 near by; it grows from 10 m on, over 60 m
_BEAM_GAIN = 0.12  # relative deviation of the lasers' calibrations
_MILLIMETRE = 3  # decimals; KITTI stores no more


@dataclass(frozen=True)
class Scan:
    """A scan and where its points come from.

    Attributes:
        points: ``(N, 4)`` float32 x, y, z in metres in the LiDAR frame, intensity in [0, 0.99].
        faces: ``(N,)`` face of the scene that returned each point.
        exact: ``(N, 3)`` float64 where the ray met the face: the points without noise.
        beams: ``(N,)`` beam of each point.
    """

    points: NDArray[np.float32]
    faces: NDArray[np.int32]
    exact: Array
    beams: NDArray[np.int64]


def scan(mesh: Mesh, caster: Caster, sensor: Sensor, rng: np.random.Generator) -> Scan:
    """Scan a scene from the origin of the LiDAR frame.

    Args:
        mesh: The scene in the LiDAR frame.
        caster: The same mesh, prepared.
        sensor: Beams and view.
        rng: Source of chance; the same amount is drawn whatever the rays hit.
    """
    directions, kept = ray_grid(sensor)
    shape, rows = kept.shape, np.flatnonzero(kept)
    faces = np.full(kept.size, _NOTHING, dtype=np.int32)
    ranges, cosines = np.full(kept.size, np.inf), np.zeros(kept.size)
    faces[rows], ranges[rows], cosines[rows] = _cast_through(mesh, caster, directions, rng)
    hit = faces >= 0
    material = np.where(hit, mesh.materials[faces], 0)
    lost = ~hit | ~_returned(material, ranges, cosines, rng.random(kept.size)) | (ranges > sensor.max_range)
    measured = _mixed(np.where(lost, np.inf, ranges).reshape(shape), rng).ravel()
    measured = measured + sensor.range_noise * rng.standard_normal(kept.size)
    gain = np.repeat(1 + _BEAM_GAIN * _laser_gains(shape[0]), shape[1])
    brightness = _intensity(material, ranges, cosines, rng.standard_normal(kept.size)) * gain
    brightness = np.where(_faint(ranges, rng.random(kept.size)), 0.0, brightness)
    returned = np.flatnonzero(~lost)
    inside = np.searchsorted(rows, returned)
    unit = directions[inside]
    points = np.empty((len(returned), 4), dtype=np.float32)
    points[:, :3] = np.round(unit * measured[returned, None], _MILLIMETRE)
    points[:, 3] = np.round(np.clip(brightness[returned], 0.0, 0.99), 2)
    return Scan(points, faces[returned], unit * ranges[returned, None], returned // shape[1])


@lru_cache(maxsize=4)
def ray_grid(sensor: Sensor) -> tuple[Array, Mask]:
    """Return the rays of one turn.

    Returns:
        ``(N, 3)`` unit directions of the N rays in the view, and the ``(B, A)`` grid of beams by azimuths (from right
        to left) that is True for each of them.
    """
    half = 180.0 if sensor.view == 'full' else 60.0  # degrees; the camera sees 41 to each side
    azimuth = np.radians(np.arange(-half, half, sensor.azimuth_step))
    elevation = np.radians(np.array(sensor.elevations))[:, None]
    grid = np.stack(
        np.broadcast_arrays(
            np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)
        ),
        axis=-1,
    )
    kept = np.ones(grid.shape[:2], dtype=bool)
    if sensor.view == 'camera':
        kept = within_view(grid.reshape(-1, 3), sensor.margin).reshape(kept.shape)
        columns = kept.any(axis=0)
        grid, kept = grid[:, columns], kept[:, columns]
    return np.ascontiguousarray(grid[kept]), kept


def _cast_through(
    mesh: Mesh, caster: Caster, directions: Array, rng: np.random.Generator
) -> tuple[NDArray[np.int32], Array, Array]:
    """Cast rays; those that go through glass are cast once more from behind it."""
    hits = caster.cast(np.zeros(3), directions)
    faces, ranges, cosines = hits.faces, hits.distances, hits.cosines
    chance = rng.random(len(directions))
    through = np.flatnonzero((faces >= 0) & (chance < OPTICS.transparency[mesh.materials[faces]]))
    start = ranges[through] + 0.02  # m
    again = caster.cast(directions[through] * start[:, None], directions[through])
    faces[through], ranges[through], cosines[through] = again.faces, again.distances + start, again.cosines
    return faces, ranges, cosines


def _returned(material: NDArray, ranges: Array, cosines: Array, chance: Array) -> Mask:
    """Decide which hits come back: fewer from dark materials, at grazing angles and far away."""
    power = np.maximum(cosines, 1e-3) ** (OPTICS.grazing[material] / 2)  # power falls with the square of the range
    reach = np.where(np.isfinite(ranges), ranges, 1e6) / (OPTICS.reach[material] * power)
    return chance < (1 - OPTICS.loss[material]) / (1 + reach**6)


def _mixed(ranges: Array, rng: np.random.Generator) -> Array:
    """Move some returns at edges between the near and the far surface; ``(B, A)`` metres, infinite where lost."""
    chosen, share = rng.random(ranges.shape) < _MIXED_SHARE, rng.random(ranges.shape)
    with np.errstate(invalid='ignore'):
        gap = np.diff(ranges, axis=1, append=ranges[:, -1:])
    edge = (np.abs(gap) > _MIXED_GAP[0]) & (np.abs(gap) < _MIXED_GAP[1]) & (np.abs(gap) > 0.03 * ranges)
    return ranges + np.where(chosen & edge, share * np.where(edge, gap, 0.0), 0.0)


def _intensity(material: NDArray, ranges: Array, cosines: Array, noise: Array) -> Array:
    fading = np.exp(-np.maximum(np.where(np.isfinite(ranges), ranges, 0.0) - _CORRECTED, 0.0) / _FADING)
    angle = np.maximum(cosines, 1e-3) ** OPTICS.grazing[material]
    return OPTICS.brightness[material] * angle * fading * (1 + OPTICS.spread[material] * noise)


def _faint(ranges: Array, chance: Array) -> Mask:
    """Choose the returns that the sensor reports with intensity 0: a sixth near by, half of them at 40 m."""
    share, start, scale = _FAINT
    beyond = np.maximum(np.where(np.isfinite(ranges), ranges, 0.0) - start, 0.0)
    return chance > (1 - share) * np.exp(-beyond / scale)


@lru_cache(maxsize=4)
def _laser_gains(beams: int) -> Array:
    return np.random.default_rng([104, beams]).standard_normal(beams)
