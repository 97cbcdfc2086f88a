"""Two processes: one works, the other waits longer than MMEngine's own barrier would let it."""

import multiprocessing
import time

import pytest
import torch
from mmengine.config import Config

from ssal3d.distributed import barrier, frames_per_process, to_rank_0
from ssal3d.errors import UserError
from tests.helpers.paths import ROOT

LIMIT = 2  # seconds that the process group waits at most; rank 0 works longer


def wait_for_work(rank, store, waiting, results):
    from datetime import timedelta

    from mmengine import dist
    from torch import distributed

    distributed.init_process_group(
        'gloo', init_method=f'file://{store}', rank=rank, world_size=2, timeout=timedelta(seconds=LIMIT)
    )
    barrier()  # all are here once
    if rank == 0:
        time.sleep(2.5 * LIMIT)
    start = time.monotonic()
    try:
        (barrier if waiting == 'ours' else dist.barrier)()
    except RuntimeError as error:
        results.put((rank, 'gave up', str(error)))
    else:
        results.put((rank, 'met', time.monotonic() - start))


@pytest.mark.parametrize(('waiting', 'outcome'), [('ours', 'met'), ("mmengine's", 'gave up')])
def test_the_others_wait_until_rank_0_has_done_its_work(tmp_path, waiting, outcome):
    context = multiprocessing.get_context('fork')
    results = context.Queue()
    processes = [
        context.Process(target=wait_for_work, args=(rank, tmp_path / 'store', waiting, results)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    found = {rank: (what, how) for rank, what, how in (results.get(timeout=120) for _ in processes)}
    for process in processes:
        process.join(timeout=60)
    assert found[1][0] == outcome, found
    if waiting == 'ours':
        assert found[1][1] > LIMIT  # it waited longer than the group allows
        assert found[0][0] == 'met'


def bring(rank, store, results):
    from torch import distributed

    distributed.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    results.put((rank, to_rank_0({'rank': rank})))


def test_the_first_process_gets_what_all_have(tmp_path):
    context = multiprocessing.get_context('fork')
    results = context.Queue()
    processes = [context.Process(target=bring, args=(rank, tmp_path / 'store', results)) for rank in (0, 1)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert found == {0: [{'rank': 0}, {'rank': 1}], 1: []}


def test_a_single_process_waits_for_nobody():
    barrier()
    assert to_rank_0('mine') == ['mine']


@pytest.mark.parametrize(('total', 'processes', 'share'), [(2, 1, 2), (2, 2, 1), (24, 8, 3)])
def test_a_batch_is_shared_evenly(total, processes, share):
    assert frames_per_process(total, processes) == share


@pytest.mark.parametrize(('total', 'processes'), [(2, 4), (6, 4), (1, 2)])
def test_a_remainder_is_an_error(total, processes):
    with pytest.raises(UserError, match=f'{total} frames a step, which {processes} processes cannot share'):
        frames_per_process(total, processes)


def test_the_default_backends_are_what_torch_understands():
    settings = Config.fromfile(ROOT / 'configs' / '_base_' / 'default_runtime.py').env_cfg.dist_cfg
    config = torch.distributed.distributed_c10d.BackendConfig(torch.distributed.Backend(settings.backend))
    assert config.get_device_backend_map() == {'cpu': 'gloo', 'cuda': 'nccl'}
    assert settings.timeout >= 3600
