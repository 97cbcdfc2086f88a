"""Schedules fit the length of a stage."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from ssal3d.resolving import resolve
from ssal3d.stages.schedules import stretch
from tests.helpers.paths import ROOT

SHIPPED = resolve(Config.fromfile(ROOT / 'configs/_base_/schedules/onecycle_80e.py').to_dict())['param_scheduler']


def test_the_shipped_cycle_is_the_released_schedule():
    """Against the closed form of the half cosines; mmengine hands over between two schedulers one iteration late."""
    epochs, per_epoch = 5, 8
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.001, betas=(0.95, 0.99))
    schedulers = [
        PARAM_SCHEDULERS.build(dict(config, optimizer=optimizer, epoch_length=per_epoch))
        for config in stretch(SHIPPED, epochs)
    ]
    rates, betas = [], []
    for _ in range(epochs * per_epoch):
        rates.append(optimizer.param_groups[0]['lr'])
        betas.append(optimizer.param_groups[0]['betas'][0])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    total, peak = epochs * per_epoch, int(0.4 * epochs * per_epoch)
    steps = np.arange(total)
    rise = (1 - np.cos(np.pi * np.minimum(steps / peak, 1))) / 2
    fall = (1 - np.cos(np.pi * np.clip((steps - peak) / (total - peak), 0, 1))) / 2
    np.testing.assert_allclose(rates, 0.001 + 0.009 * rise + (1e-7 - 0.01) * fall, atol=1e-4)
    np.testing.assert_allclose(betas, 0.95 - 0.1 * rise + 0.1 * fall, atol=1e-3)
    assert max(betas) < 1


def test_a_run_of_the_written_length_is_left_alone():
    assert stretch(SHIPPED, 80) == SHIPPED
    assert stretch(SHIPPED, 80)[0] is not SHIPPED[0]


@pytest.mark.parametrize(('epochs', 'peak'), [(1, 0.5), (2, 1), (3, 1.2), (4, 1.6), (10, 4), (40, 16)])
def test_parts_keep_their_share_but_none_is_shorter_than_an_epoch(epochs, peak):
    rise, fall, *_ = stretch(SHIPPED, epochs)
    assert (rise['begin'], rise['end'], rise['T_max']) == (0, peak, peak)
    assert (fall['begin'], fall['end']) == (peak, epochs)
    assert fall['T_max'] == pytest.approx(epochs - peak)


def test_other_kinds_are_stretched_too():
    schedule = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
        dict(type='MultiStepLR', milestones=[30, 36], gamma=0.1, begin=0, end=40),
        dict(type='StepLR', step_size=10),
        dict(type='OneCycleLR', eta_max=0.1, total_steps=40, convert_to_iter_based=True),
    ]
    assert stretch(schedule, 10) == [
        schedule[0],
        dict(type='MultiStepLR', milestones=[8, 9], gamma=0.1, begin=0, end=10),
        dict(type='StepLR', step_size=2),
        dict(type='OneCycleLR', eta_max=0.1, total_steps=10, convert_to_iter_based=True),
    ]


def test_a_schedule_without_an_end_stays_as_it_is():
    schedule = [dict(type='MultiStepLR', milestones=[30, 36])]
    assert stretch(schedule, 10) == schedule
    assert stretch([], 10) == []
