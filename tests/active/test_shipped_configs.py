"""Every config in configs/active: named as documented, complete, with its options explained."""

from pathlib import Path

import pytest
from mmengine.config import Config

from ssal3d.active.query.settings import KEYS, query_settings
from ssal3d.configs import read_config
from ssal3d.registry import ACTIVE_SAMPLERS, options_of

FOLDER = Path(__file__).parents[2] / 'configs' / 'active'
CONFIGS = sorted(FOLDER.glob('*.py'))
KITTI = sorted(FOLDER.glob('*_kitti.py'))


def explained(path: Path, keys: set[str]) -> None:
    """Every key stands on a line of its own with a comment."""
    lines = path.read_text().splitlines()
    for key in keys:
        assert any(line.strip().startswith(f'{key}=') and '#' in line for line in lines), key


def test_each_sampler_of_ours_has_a_config():
    built = {type(ACTIVE_SAMPLERS.build(Config.fromfile(path).active_sampler)) for path in KITTI}
    ours = {kind for kind in ACTIVE_SAMPLERS.module_dict.values() if kind.__module__.startswith('ssal3d.')}
    assert built == ours


def test_every_setting_of_a_query_is_explained_once():
    explained(FOLDER.parent / '_base_' / 'query_kitti.py', set(KEYS))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_budget_is_the_papers_and_no_oracle_is_on(path):
    config = Config.fromfile(path)
    settings = query_settings(config)
    assert (settings.budget, settings.unit) == (5000 if 'waymo' in path.stem else 150, 'boxes')
    assert (settings.dontcare != 'none') is path.stem.endswith('_paper')
    ACTIVE_SAMPLERS.build(config.active_sampler)


@pytest.mark.parametrize('path', KITTI, ids=lambda path: path.stem)
def test_every_option_stands_in_the_kitti_config(path):
    config = Config.fromfile(path)
    sampler = ACTIVE_SAMPLERS.build(config.active_sampler)
    assert set(config.active_sampler) == {'type', *options_of(type(sampler))}
    explained(path, config.active_sampler.keys() - {'type'})


def test_the_papers_variant_of_cal_is_another_file():
    plain, paper = (ACTIVE_SAMPLERS.build(Config.fromfile(FOLDER / f'cal_kitti{name}.py').active_sampler).config
                    for name in ('', '_paper'))  # fmt: skip
    assert (plain['caps'], paper['caps']) == ('inverse_freq', 'manual')
    assert paper['class_weights'] == {'Car': 0.3, 'Pedestrian': 1.1, 'Cyclist': 1.6}
    assert (plain['min_precision'], paper['min_precision']) == (0.5, 0)


EXPERIMENTS = sorted([*FOLDER.parent.glob('ssal/*.py'), *FOLDER.parent.glob('paper/*.py')])


@pytest.mark.parametrize('path', EXPERIMENTS, ids=lambda path: f'{path.parent.name}-{path.stem}')
def test_the_queries_of_every_experiment_can_be_made(path):
    config = read_config(path, custom_imports=False)
    oracle = path.stem == 'pvrcnn_kitti_paper_query'
    for entry in (config.train_cfg.initial, *config.train_cfg.rounds):
        if not entry.get('labels'):
            settings = query_settings(config, entry, 'entry')
            assert settings.budget > 0
            assert (settings.dontcare != 'none') is oracle
            ACTIVE_SAMPLERS.build(dict(entry.get('sampler') or config.active_sampler))
    assert config.train_cfg.annotator.get('reveal_dontcare', False) is oracle
