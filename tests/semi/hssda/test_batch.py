"""Frames of a step of HSSDA, and the learning rate that belongs to them."""

import pytest

from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.registry import STAGES
from ssal3d.stages.supervised import StageInputs
from tests.helpers.paths import ROOT

KITTI = ROOT / 'configs' / 'ssal' / 'pvrcnn_kitti_final_hssda.py'


@pytest.fixture(scope='module')
def experiment():
    return read_config(str(KITTI))


def build(experiment, tmp_path, frames=12, accumulated=1, **changes):
    options = {
        'train_dataloader': {'batch_size': frames},
        'optim_wrapper': {'accumulative_counts': accumulated},
    }
    stage = STAGES.build({**experiment.stages['hssda'], 'options': options, **changes})
    return stage.build_config(experiment, StageInputs(tmp_path / 'hssda', tmp_path / 'round_1.json'))


def highest_rate(config):
    return max(entry.eta_min for entry in config.param_scheduler if entry.type == 'CosineAnnealingLR')


@pytest.mark.parametrize('name', ['pvrcnn_kitti_final_hssda', 'pvrcnn_kitti_pretrain_hssda'])
def test_shipped_kitti_experiments_train_hssda_with_twelve_frames_a_step(name, tmp_path):
    experiment = read_config(str(KITTI.with_name(f'{name}.py')))
    stage = STAGES.build(dict(experiment.stages['hssda']))
    config = stage.build_config(experiment, StageInputs(tmp_path / 'hssda', tmp_path / 'round_1.json'))
    assert config.total_batch_size * config.optim_wrapper.accumulative_counts == 12
    assert experiment.train_dataloader.batch_size == 2  # of the other stages


def test_the_learning_rate_follows_the_root_of_the_frames(experiment, tmp_path):
    assert highest_rate(build(experiment, tmp_path, 60)) == pytest.approx(0.01)
    scaled = build(experiment, tmp_path, 15)
    assert highest_rate(scaled) == pytest.approx(0.005)
    assert scaled.optim_wrapper.optimizer.lr == pytest.approx(0.0005)
    betas = [entry.eta_min for entry in scaled.param_scheduler if entry.type == 'CosineAnnealingMomentum']
    assert betas == [0.85, 0.95]
    assert highest_rate(build(experiment, tmp_path, 15, lr_batch=None)) == pytest.approx(0.01)


def test_accumulated_frames_count_like_others(experiment, tmp_path):
    config = build(experiment, tmp_path, frames=5, accumulated=3)
    assert config.train_dataloader.batch_size == 5
    assert config.optim_wrapper.accumulative_counts == 3
    assert highest_rate(config) == pytest.approx(0.005)


@pytest.mark.parametrize(('frames', 'accumulated'), [(7, 1), (2, 3)])
def test_small_batches_are_refused_by_the_key_to_change(experiment, tmp_path, frames, accumulated):
    with pytest.raises(UserError) as error:
        build(experiment, tmp_path, frames, accumulated)
    told = str(error.value)
    assert told.startswith('stages.hssda.options.train_dataloader.batch_size: found ')
    assert f'{frames} frames x {accumulated} accumulated, expected at least 8' in told
    assert '\n' not in told


def test_a_trial_may_say_that_it_wants_small_batches(experiment, tmp_path):
    assert build(experiment, tmp_path, 2, min_batch=2).total_batch_size == 2
