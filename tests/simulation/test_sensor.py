from pathlib import Path

import numpy as np
import pytest

from ssal3d.data.kitti_format import project, read_calibration
from ssal3d.errors import UserError
from ssal3d.simulation.frame import simulate_frame
from ssal3d.simulation.materials import OPTICS, Material
from ssal3d.simulation.presets import PRESETS, sensor_preset
from ssal3d.simulation.sensor import _mixed, _returned, ray_grid


def elevations(points: np.ndarray) -> np.ndarray:
    return np.degrees(np.arcsin(points[:, 2] / np.linalg.norm(points, axis=1)))


@pytest.mark.parametrize(('preset', 'beams'), [('kitti', 64), ('kitti-360', 64), ('32-beam', 32), ('128-beam', 128)])
def test_beams_are_the_distinct_elevations(preset, beams):
    sensor = PRESETS[preset]
    assert len(set(sensor.elevations)) == beams
    directions, kept = ray_grid(sensor)
    known = np.sort(np.array(sensor.elevations))
    error = np.abs(elevations(directions)[:, None] - known).min(axis=1)
    found = known[np.unique(np.abs(elevations(directions)[:, None] - known).argmin(axis=1))]
    assert len(found) == kept.any(axis=1).sum()
    assert error.max() < 1e-6
    assert len(found) == beams or sensor.view == 'camera', 'only the camera view drops beams'
    assert np.allclose(np.linalg.norm(directions, axis=1), 1)


def test_hdl_64_has_two_blocks():
    beams = np.array(PRESETS['kitti'].elevations)
    assert (beams[0], beams[31], beams[32], beams[63]) == pytest.approx((2.0, -8.3333, -8.83, -24.33), abs=1e-3)
    np.testing.assert_allclose(np.diff(beams[:32]), -1 / 3, atol=2e-4)
    np.testing.assert_allclose(np.diff(beams[32:]), -1 / 2, atol=2e-4)


def test_points_without_noise_lie_on_beams(frames):
    scan = frames[0].scan
    expected = np.array(PRESETS['kitti'].elevations)[scan.beams]
    np.testing.assert_allclose(elevations(scan.exact), expected, atol=1e-4)


def test_camera_crop(simulated, frames):
    """Against the projection of the data room and the written calibration: the image plus two degrees, not more."""
    calibration = read_calibration(Path(simulated) / 'training' / 'calib' / '000000.txt')
    inside = []
    for frame in frames[:6]:
        pixels, depth = project(frame.scan.exact * 1e4, calibration)  # directions: no parallax to the camera
        across = np.degrees(np.arctan((pixels[:, 0] - 609.5593) / 721.5377))
        assert (depth > 0).all()
        assert across.min() > -np.degrees(np.arctan(609.5593 / 721.5377)) - 2.01
        assert across.max() < np.degrees(np.arctan(632.44 / 721.5377)) + 2.01
        in_image = ((pixels > 0) & (pixels < (1242, 375))).all(axis=1)
        inside.append(in_image.mean())
        assert in_image.sum() > 8000
    assert 0.7 < np.mean(inside) < 0.97, 'there is a margin'


def test_a_whole_turn_looks_backwards():
    scan = simulate_frame(0, 1, 'kitti-360').scan
    share = np.histogram(np.arctan2(scan.points[:, 1], scan.points[:, 0]), bins=8, range=(-np.pi, np.pi))[0] / len(
        scan.points
    )
    assert len(scan.points) > 60_000
    assert (share > 0.03).all()


def test_noise_and_ranges(frames):
    for frame in frames[:8]:
        scan = frame.scan
        assert scan.points.dtype == np.float32
        assert np.isfinite(scan.points).all()
        assert scan.points[:, 3].min() >= 0
        assert scan.points[:, 3].max() <= np.float32(0.99)
        error = np.linalg.norm(scan.points[:, :3], axis=1) - np.linalg.norm(scan.exact, axis=1)
        assert 1.4826 * np.median(np.abs(error)) == pytest.approx(0.02, rel=0.15), 'standard deviation of the range'
        assert np.linalg.norm(scan.exact, axis=1).max() <= 120
        assert np.abs(error).max() < 2.7, 'mixed pixels stay between two surfaces'


def test_losses_grow_with_distance_angle_and_darkness():
    chance = np.random.default_rng(0).random(20_000)

    def share(material: Material, distance: float, cosine: float) -> float:
        columns = np.full(len(chance), material), np.full(len(chance), distance), np.full(len(chance), cosine)
        return _returned(*columns, chance).mean()

    assert share(Material.FACADE, 20, 1) > share(Material.FACADE, 100, 1) > share(Material.FACADE, 200, 1)
    assert share(Material.PAINT_LIGHT, 60, 1) > share(Material.PAINT_LIGHT, 60, 0.1)
    assert share(Material.PAINT_LIGHT, 60, 1) > share(Material.PAINT_DARK, 60, 1)
    assert share(Material.GLASS, 10, 1) < 0.3
    assert all(len(column) == len(Material) for column in vars(OPTICS).values())


def test_mixed_pixels_lie_between_neighbours():
    ranges = np.tile(np.repeat([10.0, 11.0, 30.0], 20), (64, 1))
    mixed = _mixed(ranges, np.random.default_rng(0))
    moved = mixed != ranges
    assert 0 < moved.sum() < moved.shape[0]
    assert ((mixed[moved] > 10) & (mixed[moved] < 11)).all(), 'a gap of 19 m gives two returns, no mixture'


def test_unknown_preset_is_named():
    with pytest.raises(UserError, match="did you mean 'kitti'"):
        sensor_preset('kiti')
