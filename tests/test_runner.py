"""Settings at the edge: no loader processes, a single step."""

import pytest
from torch.utils.data import DataLoader

from ssal3d.configs import read_config
from ssal3d.runner import QuietRunner, has_steps
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


@pytest.mark.parametrize(('epochs', 'steps', 'parts'), [(1, 1, 0), (1, 2, 4), (2, 1, 4), (80, 50, 4)])
def test_a_schedule_leaves_out_parts_without_a_step(epochs, steps, parts):
    whole = read_config('ssal3d::ssal/pvrcnn_sim.py', custom_imports=False).param_scheduler
    kept = [part for part in stretch(whole, epochs) if has_steps(part, steps)]
    assert len(kept) == parts
