"""The number of processes changes neither the steps of a stage nor the frames of a step."""

import pytest
from mmengine.config import Config, ConfigDict

from ssal3d.errors import UserError
from ssal3d.loop.digests import training_content
from ssal3d.runner import QuietRunner
from ssal3d.stages import supervised


def shared(total, processes, monkeypatch):
    monkeypatch.setattr(supervised, 'get_world_size', lambda: processes)
    config = Config({'train_dataloader': {'batch_size': total}})
    supervised.share_batch(config)
    return config


@pytest.mark.parametrize(('total', 'processes', 'each'), [(2, 1, 2), (2, 2, 1), (24, 4, 6)])
def test_each_process_loads_its_share(total, processes, each, monkeypatch):
    config = shared(total, processes, monkeypatch)
    assert config.train_dataloader.batch_size == each
    assert config.total_batch_size == total


def test_a_run_is_the_same_run_with_another_number_of_processes(monkeypatch):
    contents = [training_content(shared(8, processes, monkeypatch), {}) for processes in (1, 4)]
    assert contents[0] == contents[1]
    assert contents[0]['train_dataloader']['batch_size'] == 8
    assert training_content(shared(4, 1, monkeypatch), {}) != contents[0]


def test_a_batch_that_cannot_be_shared_is_an_error(monkeypatch):
    with pytest.raises(UserError, match='found 2 frames a step, which 4 processes cannot share evenly'):
        shared(2, 4, monkeypatch)


@pytest.mark.parametrize(('processes', 'each'), [(1, 8), (4, 2)])
def test_a_stage_that_is_run_again_by_hand_shares_anew(processes, each, monkeypatch):
    runner = object.__new__(QuietRunner)
    runner.cfg = Config({'total_batch_size': 8})
    runner._train_dataloader = ConfigDict(batch_size=4)  # it was trained by two processes
    monkeypatch.setattr('mmengine.runner.Runner.setup_env', lambda self, _: setattr(self, '_world_size', processes))
    runner.setup_env({})
    assert runner._train_dataloader.batch_size == each


def test_other_configs_keep_their_batch_per_process(monkeypatch):
    runner = object.__new__(QuietRunner)
    runner.cfg = Config({})
    runner._train_dataloader = ConfigDict(batch_size=4)
    monkeypatch.setattr('mmengine.runner.Runner.setup_env', lambda self, _: setattr(self, '_world_size', 2))
    runner.setup_env({})
    assert runner._train_dataloader.batch_size == 4
