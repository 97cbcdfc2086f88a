"""Settings at the edge: no loader processes, a single step."""

import pytest
from torch.utils.data import DataLoader

from ssal3d.runner import QuietRunner, has_steps
from ssal3d.stages.schedules import onecycle


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
    kept = [part for part in onecycle(epochs) if has_steps(part, steps)]
    assert len(kept) == parts
