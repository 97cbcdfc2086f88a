"""Every config in configs/active: named as documented, complete, with its options explained."""

from pathlib import Path

import pytest
from mmengine.config import Config

from ssal3d.registry import ACTIVE_SAMPLERS, options_of

FOLDER = Path(__file__).parents[2] / 'configs' / 'active'
NAMES = (
    *('random', 'confidence', 'entropy', 'mc_dropout', 'coreset', 'badge', 'llal', 'crb', 'kecor', 'ppal', 'cal'),
    'information_per_box',
)


def test_each_sampler_has_a_config_for_each_data_set():
    assert {path.stem for path in FOLDER.glob('*.py')} == {
        f'{name}_{data}' for name in NAMES for data in ('kitti', 'waymo')
    }
    built = {ACTIVE_SAMPLERS.build(Config.fromfile(path).active_sampler).config['type'] for path in FOLDER.glob('*.py')}
    assert built == set(ACTIVE_SAMPLERS.module_dict)


@pytest.mark.parametrize('path', sorted(FOLDER.glob('*.py')), ids=lambda path: path.stem)
def test_budgets_are_the_papers_and_every_option_stands_in_the_kitti_config(path):
    config = Config.fromfile(path)
    assert config.budget == (150 if path.stem.endswith('kitti') else 5000)
    sampler = ACTIVE_SAMPLERS.build(config.active_sampler)
    if path.stem.endswith('kitti'):
        assert set(config.active_sampler) == {'type', *options_of(type(sampler))}
        lines = path.read_text().splitlines()
        for option in config.active_sampler.keys() - {'type'}:
            assert any(line.strip().startswith(f'{option}=') and '#' in line for line in lines), option
