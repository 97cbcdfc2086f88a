"""Python of the pages does what it shows; `tests/tools/test_active_learning_doc.py` has those of that page."""

import re

import numpy as np
import pytest

from ssal3d.configs import read_config
from ssal3d.predictions.synthetic import synthetic_pool, write_predictions
from tests.helpers.paths import ROOT


def block(page, beginning):
    """Return the one block of Python of a page that begins so."""
    blocks = re.findall(r'^```python\n(.*?)^```', (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    (code,) = [code for code in blocks if code.startswith(beginning)]
    return code


def run(page, beginning, **names):
    """Run a block with these names defined; return the names that it defines."""
    names['__name__'] = 'page'
    exec(compile(block(page, beginning), page, 'exec'), names)
    return names


def test_label_state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run('docs/label_state.md', 'from ssal3d.data import LabelState')
    assert names['state'].frame_ids == ('000002',)


def test_prediction_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run('docs/predictions.md', 'from ssal3d.predictions import')
    assert names['pool'].boxes.shape == (1, 7)
    assert '000001' in capsys.readouterr().out


def test_box_bank_and_pseudo_scene(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pool, rng = synthetic_pool(6), np.random.default_rng(0)
    write_predictions(pool, 'predictions')
    (tmp_path / 'velodyne_reduced').mkdir()
    for frame, frame_id in enumerate(pool.frame_ids.tolist()):
        centres = pool.boxes[pool.boxes_of(frame), :3]
        inside = np.repeat(centres, 30, axis=0) + rng.uniform(-0.2, 0.2, (30 * len(centres), 3))
        street = rng.uniform((0, -40, -2), (70, 40, -1.6), (3000, 3))
        points = np.column_stack((np.concatenate((inside, street)), np.zeros(30 * len(centres) + 3000)))
        points.astype(np.float32).tofile(tmp_path / 'velodyne_reduced' / f'{frame_id}.bin')
    names = run('docs/cpsp.md', 'import numpy as np\nfrom ssal3d.bank')
    assert len(names['scene'].boxes) > 0
    assert len(names['background'].points) < len(names['load_points'](names['frame_id']))


def test_average_precision(tmp_path):
    label = 'Car 0.00 0 0.00 0.00 0.00 50.00 50.00 1.50 1.60 3.90 0.00 1.60 10.00 0.00'
    for name, text in (('labels', label), ('results', f'{label} 0.9')):
        (tmp_path / name).mkdir()
        (tmp_path / name / '000001.txt').write_text(text)
    given = {'labels': tmp_path / 'labels', 'results': tmp_path / 'results', 'ids': ['000001']}
    metrics = run('docs/evaluation.md', 'from ssal3d.data.kitti_objects', **given)['metrics']
    assert metrics['Car']['3d']['R11']['easy'] == pytest.approx(100 / 11)  # the only position that one object has


@pytest.mark.parametrize(
    ('page', 'base', 'key', 'value'),
    [
        ('README.md', 'pvrcnn_kitti.py', 'active_sampler.type', 'RandomSampler'),
        ('docs/samplers.md', './pvrcnn_sim.py', 'active_sampler.type', 'EntropySampler'),
        ('docs/semi_supervised.md', './pvrcnn_kitti.py', 'train_cfg.final', ['supervised', 'hssda']),
    ],
)
def test_configs_inherit_as_shown(tmp_path, page, base, key, value):
    text = block(page, f"_base_ = '{base}'").replace(f"'{base}'", f"'{ROOT / 'configs' / 'ssal' / base}'")
    (tmp_path / 'config.py').write_text(text)
    config = read_config(tmp_path / 'config.py')
    found = config
    for part in key.split('.'):
        found = found[part]
    assert found == value
    assert {name for entry in config.train_cfg.rounds for name in entry['pretrain']} <= set(config.stages)


def test_configs_of_the_page_on_configs_are_read(tmp_path):
    text = (ROOT / 'docs/configs.md').read_text()
    blocks = re.findall(r'^```python\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    configs = []
    for code in blocks:
        (tmp_path / 'mine.py').write_text(code)
        configs.append(read_config(tmp_path / 'mine.py'))
    assert configs[0].model.rpn_head.num_classes == 2
    assert configs[0].model.middle_encoder.sparse_shape == [41, 1280, 1024]
    assert configs[0].param_scheduler[0].eta_min == 0.005
    assert configs[1].model.rpn_head.anchor_generator.sizes[1] == [5.0, 1.9, 2.2]
    assert configs[1].stages.cpsp.false_positives == {'Car': 3, 'Van': 3}
    assert configs[2].stages.cpsp.param_scheduler[0].type == 'ConstantLR'
