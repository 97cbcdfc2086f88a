"""A batch with everything that goes wrong in converters: made scans, the asymmetric box, and its awkward companions."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from math import pi
from pathlib import Path

import numpy as np
import pytest

from ssal3d.annotation import Camera, Cuboid, LabelFrame
from ssal3d.annotation.exporting import export_query
from ssal3d.annotation.importing import ImportSettings, read_labels

VECTOR = (10.1234, 2.5678, -1.2345, 4.1, 1.7, 1.5, 2.9)
CLASSES = ('Car', 'Pedestrian', 'park bench')
COMPANIONS = {
    'vector': [('Car', VECTOR)],
    'near_pi': [('Car', (*VECTOR[:6], 3.1415)), ('Car', (20.0, -3, -1, 4.1, 1.7, 1.5, -3.1415))],
    'minus_half_pi': [('Car', (*VECTOR[:6], -pi / 2))],
    'bench': [('park bench', (5.0, 5.0, -1.5, 0.6, 1.9, 0.5, 0.7))],
    'flat': [('Pedestrian', (7.0, -2.0, -1.7, 0.8, 0.6, 0.02, -0.3))],
    'empty.frame': [],
    'crowd': [('Pedestrian', (4.0 + 3 * (k % 15), 3.0 * (k // 15) - 18, -0.9, 0.8, 0.6, 1.7, 0.03 * k - 3)) for k in range(200)],
}  # fmt: skip
CAMERA = Camera(
    'CAM2',
    np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003], [0, 0, 0, 1.0]]),
    np.array([[0.01, -1, 0, -0.02], [0.01, 0, -1, -0.06], [1, 0.01, 0.01, -0.33], [0, 0, 0, 1.0]]),
    (1242, 375),
)


def rigid(matrix: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(matrix[:3, :3])
    matrix = matrix.copy()
    matrix[:3, :3] = u @ v
    return matrix


class Batch:
    """Scans and pre-labels in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.classes = CLASSES
        self.vector = VECTOR
        self.boxes = {
            name: tuple(Cuboid(kind, tuple(map(float, box)), score=0.912) for kind, box in found)
            for name, found in COMPANIONS.items()
        }
        numbers = iter(range(1, 1000))
        self.prelabels = {
            name: tuple(replace(cuboid, id=str(next(numbers))) for cuboid in found)
            for name, found in self.boxes.items()
        }
        self.camera = replace(CAMERA, lidar_to_camera=rigid(CAMERA.lidar_to_camera))
        self.frames = []
        (folder / 'scans').mkdir()
        for index, (name, cuboids) in enumerate(self.prelabels.items()):
            path = folder / 'scans' / f'{name}.bin'
            rng = np.random.default_rng(index)
            cloud = [rng.uniform(-1, 1, (8, 3)) * 0.2 * c.box[5] + c.box[:3] for c in cuboids]
            cloud.append(rng.uniform(-30, 30, (50, 3)) * (1, 1, 0.02))
            points = np.concatenate(cloud)
            np.column_stack((points, rng.random(len(points)))).astype('<f4').tofile(path)
            self.frames.append(LabelFrame(name, scan=path))

    def write(self, tool, *, cameras=False, prelabels=None, frames=None, out='export', **options):
        """Export, and return the folder and the notes."""
        frames = self.frames if frames is None else frames
        if cameras:
            frames = [replace(frame, cameras=(self.camera,)) for frame in frames]
        folder = self.folder / out
        settings = {'classes': self.classes, 'round_number': 1, 'pool': {'name': 'made', 'size': 7, 'sha256': 'x'}}
        prelabels = self.prelabels if prelabels is None else prelabels
        _, notes = export_query(frames, folder, tool, prelabels=prelabels, **settings | options)
        return folder, notes

    def read(self, folder, returned=None, **settings):
        """Import, unsaved frames included."""
        return read_labels(folder, returned, ImportSettings(**{'accept_untouched': True} | settings))


@pytest.fixture
def batch(tmp_path) -> Batch:
    return Batch(tmp_path)


@pytest.fixture
def foreign(tmp_path):
    """Run a script with a package that is not ours and return what it prints as JSON.

    The package may live in an environment of its own, because some clash with ours: set SSAL3D_FORMATS_PYTHON to its
    Python, or to several with colons between. Skips if none has it.
    """

    def run(package: str, script: str, *words) -> object:
        others = os.environ.get('SSAL3D_FORMATS_PYTHON', '').split(os.pathsep)
        for python in (sys.executable, *others):
            if (
                python
                and subprocess.run(
                    [python, '-c', f'import sys, importlib.util as u; sys.exit(u.find_spec("{package}") is None)'],
                    capture_output=True,
                ).returncode
                == 0
            ):
                break
        else:
            pytest.skip(f'{package} is neither here nor in SSAL3D_FORMATS_PYTHON; see docs/dependencies.md')
        path = tmp_path / 'foreign.py'
        path.write_text(script)
        environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
        done = subprocess.run([python, path, *words], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
