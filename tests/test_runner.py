"""Settings at the edge: no loader processes, a single step."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.runner import QuietRunner, end_workers, has_steps
from ssal3d.stages.schedules import stretch


class Numbers(list):
    metainfo = None


@pytest.mark.parametrize('workers', [0, 1])
def test_loaders_do_without_processes_whatever_is_said_about_them(workers):
    loader = QuietRunner.build_dataloader(
        dict(
            batch_size=2,
            num_workers=workers,
            persistent_workers=True,
            prefetch_factor=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=Numbers(range(5)),
        )
    )
    assert isinstance(loader, DataLoader)
    assert loader.persistent_workers is bool(workers)
    assert [len(batch) for batch in loader] == [2, 2, 1]


def test_loader_processes_end_by_themselves_though_garbage_collection_is_yet_to_come():
    loader = DataLoader(Numbers(range(4)), num_workers=1, persistent_workers=True)
    loop = SimpleNamespace(dataloader=loader)
    loop.itself = loop  # a cycle, as in a runner
    assert [int(number) for number in loader] == [0, 1, 2, 3]
    (process,) = loader._iterator._workers
    assert process.is_alive()
    end_workers(loop, None, {})
    assert process.exitcode == 0  # nobody had to kill it


@pytest.mark.parametrize(('epochs', 'steps', 'parts'), [(1, 1, 0), (1, 2, 4), (2, 1, 4), (80, 50, 4)])
def test_a_schedule_leaves_out_parts_without_a_step(epochs, steps, parts):
    whole = read_config('ssal3d::ssal/pvrcnn_sim.py', custom_imports=False).param_scheduler
    kept = [part for part in stretch(whole, epochs) if has_steps(part, steps)]
    assert len(kept) == parts


def test_the_model_of_an_experiment_stays_off_the_gpu(monkeypatch):
    """It is built, so that errors of the config are found early, and never used."""
    model, moved = torch.nn.Linear(1, 1), []
    monkeypatch.setattr('mmengine.runner.runner.get_device', lambda: moved.append('there') or 'meta')
    runner = object.__new__(QuietRunner)
    runner._distributed = False
    runner.logger = SimpleNamespace(info=lambda _: None)
    for loop, device in (('ActiveLearningLoop', 'cpu'), ('EpochBasedTrainLoop', 'meta')):
        runner.cfg = Config({'train_cfg': {'type': loop}})
        assert runner.wrap_model(None, model).weight.device.type == device
    assert moved == ['there']
    runner.cfg = Config({'train_cfg': None})  # a test alone
    assert runner.wrap_model(None, model).weight.device.type == 'meta'
