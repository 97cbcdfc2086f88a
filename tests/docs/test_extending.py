"""What docs/extending.md shows works as it stands there: from a user's own file, and from an installed package."""

import json
import re
import subprocess
import sys

import pytest

from ssal3d.active import QuerySettings, select
from ssal3d.data.label_state import LabelState
from ssal3d.predictions.synthetic import CLASSES, synthetic_pool, write_predictions
from tests.helpers.paths import ROOT

PAGE = (ROOT / 'docs' / 'extending.md').read_text()
BLOCKS = {language: re.findall(rf'^```{language}\n(.*?)^```', PAGE, re.M | re.S) for language in ('python', 'text')}
SAMPLER, UNIT = (next(block for block in BLOCKS['python'] if name in block) for name in ('FewPoints', 'SecondsUnit'))
IMPORTS, ENTRY, QUERY, _ = BLOCKS['text']


@pytest.fixture
def folder(tmp_path):
    """Prediction files of a pool, and the user's own module and config beside each other in another folder."""
    pool = synthetic_pool(30, fields=('num_points',))
    write_predictions(pool, tmp_path / 'predictions')
    LabelState.empty(CLASSES, 'p', pool.frame_ids.tolist()).write(tmp_path / 'labels.json')
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'few_points.py').write_text(f'{SAMPLER}\n\n{UNIT}')
    config = f"active_sampler = dict(type='FewPointsSampler', enough=20)\n{QUERY.replace('3600', '200')}"
    (tmp_path / 'mine' / 'plain.py').write_text(config)
    (tmp_path / 'mine' / 'importing.py').write_text(f'{config}{IMPORTS}')
    return tmp_path


def al_select(folder, config, python_path=(), code=0):
    command = [sys.executable, '-m', 'ssal3d', 'select', f'mine/{config}.py', '--predictions', 'predictions']
    environment = {'PYTHONPATH': ':'.join(map(str, (ROOT, *python_path))), 'PATH': '/usr/bin:/bin'}
    command += ['--labels', 'labels.json', '--out', 'q.json', '--force']
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return json.loads((folder / 'q.json').read_text()) if code == 0 else done.stderr


def check(query):
    assert query['sampler'] == {'type': 'FewPointsSampler', 'enough': 20}
    utilities = [frame['utility'] for frame in query['frames']]
    assert utilities == sorted(utilities, reverse=True)
    prices = {'Car': 6, 'Pedestrian': 10, 'Cyclist': 12}
    costs = [20 + sum(prices[name] * n for name, n in frame['predicted_boxes'].items()) for frame in query['frames']]
    assert query['spent'] == sum(costs) >= 200 > sum(costs[:-1])


def test_a_module_beside_the_config(folder):
    check(al_select(folder, 'importing'))
    error = al_select(folder, 'plain', code=2)
    assert error.startswith('error: ')
    assert "unknown active sampler 'FewPointsSampler'" in error


def test_a_module_that_is_missing_or_broken_is_one_line(folder):
    (folder / 'mine' / 'few_points.py').unlink()
    error = al_select(folder, 'importing', code=2)
    assert "custom_imports: 'few_points' cannot be imported (No module named 'few_points')" in error
    assert error.count('\n') == 1
    broken = folder / 'mine' / 'few_points.py'
    for code, said in {
        'enough = 1 / 0': f'(ZeroDivisionError: division by zero, {broken}, line 1)',
        'import no_such_module': f"(ModuleNotFoundError: No module named 'no_such_module', {broken}, line 1)",
        'enough =': '(SyntaxError: invalid syntax (few_points.py, line 1))',
    }.items():
        broken.write_text(f'{code}\n')
        error = al_select(folder, 'importing', code=2)
        assert f"custom_imports: 'few_points' cannot be imported {said}; correct the module" in error
        assert error.count('\n') == 1


def test_an_installed_package(folder):
    """An entry point of the group, as `pip install` leaves it."""
    site = folder / 'site'
    (site / 'my_package').mkdir(parents=True)
    (folder / 'mine' / 'few_points.py').rename(site / 'my_package' / 'few_points.py')
    facts = site / 'my_package-1.0.dist-info'
    facts.mkdir()
    (facts / 'METADATA').write_text('Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n')
    (facts / 'entry_points.txt').write_text(ENTRY.replace('project.entry-points."ssal3d.plugins"', 'ssal3d.plugins').replace('"', ''))  # fmt: skip
    check(al_select(folder, 'plain', [site]))
    (site / 'my_package' / 'few_points.py').write_text('raise ValueError("out of order")\n')
    error = al_select(folder, 'plain', [site], code=2)
    assert (
        "plug-in 'few_points' of my-package: my_package.few_points cannot be imported (ValueError: out of order, "
        f'{site}/my_package/few_points.py, line 1)' in error
    )
    assert error.count('\n') == 1
    (site / 'my_package' / 'few_points.py').write_text('import no_such_module\n')
    error = al_select(folder, 'plain', [site], code=2)
    assert "plug-in 'few_points' of my-package: my_package.few_points cannot be imported (ModuleNotFoundError" in error
    assert error.count('\n') == 1


def test_the_sampler_from_python():
    names = {'__name__': 'page'}
    from ssal3d.registry import ACTIVE_SAMPLERS

    try:
        exec(compile(SAMPLER, 'extending.md', 'exec'), names)
        pool = synthetic_pool(30, fields=('num_points',))
        labels = LabelState.empty(CLASSES, 'p', pool.frame_ids.tolist())
        query = select(names['FewPointsSampler'](), pool, labels, QuerySettings(5, unit='frames'))
    finally:
        ACTIVE_SAMPLERS.module_dict.pop('FewPointsSampler', None)
    assert len(query.frames) == 5


def test_training_commands_import_the_module_and_what_is_ours(folder):
    """A child's `custom_imports` take the place of its base's, which name ours."""
    base = ROOT / 'configs' / 'ssal' / 'pvrcnn_kitti.py'
    (folder / 'mine' / 'train.py').write_text(
        f"_base_ = '{base}'\n{IMPORTS}active_sampler = dict(_delete_=True, type='FewPointsSampler')\n"
        "stages = dict(mine=dict(type='MyStage', epochs=1))\n"
        "model = dict(type='MyDetector')\npool_dataset = dict(type='MyDataset')\n"
    )
    registering = """
from mmdet3d.models.detectors import VoxelNet
from mmdet3d.registry import DATASETS, MODELS
from mmdet3d.datasets import KittiDataset

from ssal3d.loop import SimulatedAnnotator
from ssal3d.registry import ANNOTATORS, STAGES
from ssal3d.stages import SupervisedStage

STAGES.register_module(module=type('MyStage', (SupervisedStage,), {}))
ANNOTATORS.register_module(module=type('MyAnnotator', (SimulatedAnnotator,), {}))
MODELS.register_module(module=type('MyDetector', (VoxelNet,), {}))
DATASETS.register_module(module=type('MyDataset', (KittiDataset,), {}))
"""
    with (folder / 'mine' / 'few_points.py').open('a') as file:
        file.write(registering)
    code = f"""
from argparse import Namespace
from ssal3d.launch import load_config
load_config(Namespace(config={str(folder / 'mine' / 'train.py')!r}, cfg_options=None, launcher='none', local_rank=0))
from mmdet3d.registry import DATASETS, MODELS
from mmengine.registry import LOOPS
from ssal3d.registry import ACTIVE_SAMPLERS, ANNOTATORS, STAGES, is_known
assert is_known(dict(type='MyStage'), STAGES) and is_known(dict(type='MyAnnotator'), ANNOTATORS)
assert MODELS.get('MyDetector') and DATASETS.get('MyDataset') and LOOPS.get('ActiveLearningLoop')
assert ACTIVE_SAMPLERS.build(dict(type='FewPointsSampler'))
"""
    done = subprocess.run([sys.executable, '-c', code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
