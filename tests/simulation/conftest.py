"""A small simulation, made once, and hand-made scenes."""

from pathlib import Path

import pytest

from ssal3d.simulation.frame import simulate_frame
from ssal3d.simulation.plot import Thing
from ssal3d.simulation.road import Road
from ssal3d.simulation.scene import Scene, Snapshot, snapshot
from ssal3d.simulation.writer import simulate_kitti
from tests.helpers.simulation_files import FRAMES, SEED, VAL


@pytest.fixture(scope='session')
def simulated(tmp_path_factory) -> Path:
    """24 frames, made in one process without interruption."""
    out = tmp_path_factory.mktemp('simulated')
    simulate_kitti(out, FRAMES, SEED, val=VAL, workers=1)
    return out


@pytest.fixture(scope='session')
def frames():
    """The same frames in memory."""
    return [simulate_frame(SEED, number) for number in range(FRAMES)]


@pytest.fixture
def flat_road() -> Road:
    return Road(half_width=6.0, parking=0.0, walk=0.0, bend=0.0, climb=0.0, kerb=0.0)


@pytest.fixture
def look(flat_road):
    """Return a function that puts things on a flat road and looks at them from s = d = 0."""

    def at(*things: Thing, frame: int = 0) -> Snapshot:
        scene = Scene('test', flat_road, list(things), ego=(0.0, 0.0), speed=0.0, interval=0.1)
        return snapshot(scene, 0, frame, 0, 1.73, 120.0, rear=False)

    return at
