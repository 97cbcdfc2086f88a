import json

import numpy as np
import pytest

from ssal3d.configs import read_config
from ssal3d.data.kitti_format import png_size
from ssal3d.simulation.realism import CLASSES, compare, largest_difference
from ssal3d.simulation.realism_figure import write_report
from tests.helpers.simulation_files import FRAMES


def test_distance_of_samples():
    rng = np.random.default_rng(0)
    a = rng.normal(size=500)
    assert largest_difference(a, a) == 0
    assert largest_difference(a, a + 100) == 1
    assert largest_difference(a, rng.normal(size=500)) < 0.12
    assert largest_difference(a, np.zeros(0)) == 1


def test_a_simulation_does_not_differ_from_itself(simulated, tmp_path):
    quantities = compare(simulated, simulated)
    for quantity in quantities:
        assert quantity.distance == (0 if len(quantity.real) else 1)
        assert quantity.sizes[0] == quantity.sizes[1]
    assert {name for name in CLASSES if any(q.name == f'{name}s per frame' for q in quantities)} == set(CLASSES)
    write_report(tmp_path / 'report.png', quantities[:8])
    assert min(png_size(tmp_path / 'report.png')) > 300


def test_it_looks_like_kitti(simulated, kitti_mini, kitti_labels, tmp_path):
    """Loose bounds on a small simulation; docs/simulation.md has the distances of a large one."""
    ids = sorted(path.stem for path in (kitti_mini / 'training' / 'velodyne').glob('00*.bin'))
    (tmp_path / 'list.txt').write_text('\n'.join(ids))
    labels = next(kitti_labels.rglob('label_2'))
    found = {q.name: q for q in compare(simulated, kitti_mini, labels, tmp_path / 'list.txt')}
    assert found['range of points, m'].distance < 0.2
    assert found['height of points, m'].distance < 0.3
    assert found['intensity'].distance < 0.3
    assert found['Car: length, m'].distance < 0.25
    assert found['Car: points at 20 m'].distance < 0.35
    assert found['points in view per frame'].simulated_mean == pytest.approx(18_700, rel=0.15)


def test_the_summary_counts_the_labels(simulated):
    summary = json.loads((simulated / 'simulation.json').read_text())['splits']['trainval']
    lines = [
        line for path in (simulated / 'training' / 'label_2').glob('*.txt') for line in path.read_text().splitlines()
    ]
    assert summary['frames'] == FRAMES
    assert summary['objects']['Car'] == sum(line.startswith('Car ') for line in lines)
    assert sum(summary['objects'].values()) == len(lines)


def test_the_config_points_every_loader_to_the_simulation(monkeypatch):
    monkeypatch.setenv('SSAL3D_SIM', 'elsewhere')
    monkeypatch.delenv('SSAL3D_KITTI', raising=False)
    config = read_config('configs/_base_/datasets/sim.py')
    text = config.pretty_text
    assert 'data/kitti' not in text
    assert text.count('elsewhere') >= 6
