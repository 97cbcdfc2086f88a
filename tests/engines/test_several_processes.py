"""A pass over a pool by several processes: the same bytes as by one, also with slow, hung and killed ones."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta

import pytest
import torch
from torch import distributed

import ssal3d.register  # noqa: F401
from ssal3d import shared_work
from ssal3d.errors import UserError
from ssal3d.predictions import pool_inference, read_predictions
from ssal3d.predictions.pool_inference import predict_pool
from tests.helpers.paths import ROOT, TINY
from tests.helpers.tiny_pool import TinyDetector, TinyPool, digests

FRAMES, SIZE = 26, 2  # 13 parts
FIELDS = ('box_features', 'num_points')
HANGS = 'hangs'


def predict(folder, model=None, **options):
    options = {'batch_size': 2, 'num_workers': 0, 'frames_per_part': SIZE, **options}
    return predict_pool(model or TinyDetector(), TinyPool(FRAMES), folder, fields=FIELDS, **options)


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    """What a single process writes."""
    folder = tmp_path_factory.mktemp('alone') / 'parts'
    predict(folder)
    return digests(folder)


def in_a_process(rank, processes, store, folder, seconds, results, workers):
    """Predict as one of several processes; one that hangs never comes back from its second batch."""
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=processes)
    shared_work.POLL = 0.02
    if HANGS in seconds:
        shared_work.LEAST_WAIT, pool_inference.WORK_LIMIT = 0.5, timedelta(seconds=3)
    model = TinyDetector(0.01 if seconds[rank] == HANGS else seconds[rank])
    if seconds[rank] == HANGS:
        test_step, calls = model.test_step, []

        def hang(data):
            calls.append(data)
            if len(calls) == 2:
                time.sleep(3600)
            return test_step(data)

        model.test_step = hang
    written, finish = [], shared_work.SharedWork.finish

    def watched(self, number):
        written.append(number)
        finish(self, number)

    shared_work.SharedWork.finish = watched
    try:
        timing = predict(folder, model, num_workers=workers)
        results.put((rank, written, timing.frames))
    except UserError as error:
        results.put((rank, written, str(error)))


def start(folder, seconds, tmp_path, workers=0):
    context = multiprocessing.get_context('fork')  # a fresh process would import MMDetection3D for many seconds
    results = context.Queue()
    common = (len(seconds), tmp_path / f'store-{time.monotonic_ns()}', folder, seconds, results, workers)
    processes = [context.Process(target=in_a_process, args=(rank, *common)) for rank in range(len(seconds))]
    for process in processes:
        process.start()
    return processes, results


def gather(processes, results, number=None):
    try:
        return {
            rank: found
            for rank, *found in (results.get(timeout=60) for _ in (processes if number is None else range(number)))
        }
    finally:
        for process in processes:
            process.join(timeout=10 if number is None else 0.1)
            process.kill()


@pytest.mark.parametrize(('seconds', 'workers'), [((0, 0), 0), ((0, 0), 1), ((0.02, 0.02, 0.4), 0)])
def test_any_number_of_processes_writes_the_bytes_of_one(alone, tmp_path, seconds, workers):
    found = gather(*start(tmp_path / 'parts', seconds, tmp_path, workers))
    assert digests(tmp_path / 'parts') == alone
    written = [number for parts, _ in found.values() for number in parts]
    assert sorted(written) == list(range(13))  # each once
    assert all(frames == FRAMES for _, frames in found.values())
    if len(seconds) == 3:  # with equal shares, the slow one would have had four
        assert 1 <= len(found[2][0]) <= 2
        assert len(found[0][0]) + len(found[1][0]) >= 11


def test_what_a_hung_process_holds_is_taken_over_and_nobody_waits_for_it_for_ever(alone, tmp_path):
    processes, results = start(tmp_path / 'parts', (0.01, 0.01, HANGS), tmp_path)
    found = gather(processes, results, number=2)
    assert digests(tmp_path / 'parts') == alone
    assert set(found) == {0, 1}
    assert 'processes 2 did not arrive within 0:00:03' in found[0][1]
    assert 'what is finished is kept' in found[1][1]


def test_a_run_after_a_killed_one_predicts_what_is_missing(alone, tmp_path):
    folder = tmp_path / 'parts'
    processes, _ = start(folder, (0.05, 0.05), tmp_path)
    while not folder.exists() or len(digests(folder)) < 5:
        time.sleep(0.01)
    for process in processes:  # as a launcher does when one of its processes dies
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob('part-*')}
    assert 5 <= len(kept) < 13
    found = gather(*start(folder, (0, 0, 0), tmp_path))
    assert all(frames == FRAMES - SIZE * len(kept) for _, frames in found.values())
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name in kept} == kept
    assert {name: digest for name, digest in digests(folder).items() if not name.startswith('.')} == alone


@pytest.mark.slow
def test_two_machines_that_torchrun_joins_predict_what_one_does(street, checkpoint, tmp_path):
    environment = {**os.environ, 'SSAL3D_KITTI': str(street), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    words = ['-m', 'ssal3d', 'predict', str(TINY), str(checkpoint), '--batch-size', '2', '--num-workers', '0', '--out']
    one = [sys.executable, *words, str(tmp_path / 'one'), '--frames-per-part', '2']
    done = subprocess.run(one, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    machines = [
        subprocess.Popen(
            [
                *(sys.executable, '-m', 'torch.distributed.run', '--nnodes', '2', '--node_rank', str(node)),
                *('--nproc_per_node', '1', '--master_addr', '127.0.0.1', '--master_port', str(port)),
                *(*words, str(tmp_path / 'two'), '--frames-per-part', '2', '--launcher', 'pytorch'),
            ],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in (0, 1)
    ]
    for machine in machines:
        _, said = machine.communicate(timeout=300)
        assert machine.returncode == 0, said[-2000:]
    assert digests(tmp_path / 'two') == digests(tmp_path / 'one')
    assert len(read_predictions(tmp_path / 'two')) == 12
