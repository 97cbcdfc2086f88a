"""The box bank cut by several processes: the same bytes as by one, also after a killed run."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from torch import distributed

from ssal3d.bank import shared_cuts
from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.cutting import cut_labelled_objects
from ssal3d.bank.shared_cuts import cut_by_all, labelled_cut_by_all
from ssal3d.cpsp.background import FrameUpdate
from ssal3d.cpsp.refresh import generation_of, refresh, update_frames
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.cpsp.shard import pool_shard
from ssal3d.errors import UserError
from tests.helpers.cpsp_builders import CLASSES, RandomPool, same

POOL = RandomPool(22)
LABELLED = LabelledObjects.from_frames((name, *zip(*POOL.objects[name])) for name in POOL.ids[::4])
UNLABELLED = [name for name in POOL.ids if name not in LABELLED.frame_ids]
SETTINGS = cpsp_settings(k_first=2, k_next=2, tau_low=0.3, fp_min_points=1)


def alone():
    """Two generations of the bank, by the functional core."""
    first = refresh(POOL.load_points, CLASSES, SETTINGS, predictions=POOL.predict(0, ids=UNLABELLED), labelled=LABELLED)
    return first, refresh(
        POOL.load_points,
        CLASSES,
        SETTINGS,
        predictions=POOL.predict(1, ids=UNLABELLED),
        labelled=LABELLED,
        previous=first,
        provenance={'epoch': 10},
    )


def bank(folder, seconds):
    """The second of them, as the hook makes it."""
    first, _ = alone()
    pool = pool_shard(CLASSES, SETTINGS, POOL.predict(1, ids=UNLABELLED), LABELLED, None, first)

    def load_points(frame_id):
        time.sleep(seconds)
        return POOL.load_points(frame_id)

    def cut(start, stop):
        return update_frames(pool.part(start, stop), load_points)

    updates = cut_by_all(cut, len(pool.frame_ids), folder, *pool.facts())
    return None if updates is None else generation_of(pool, [FrameUpdate(*u) for u in updates], first, {'epoch': 10})


def paste(folder, seconds):
    return labelled_cut_by_all(POOL.load_points, CLASSES, LABELLED, folder)


def other_facts(folder, seconds):
    return cut_by_all(lambda *_: [], 4, folder, np.arange(4) + distributed.get_rank())


def in_a_process(rank, processes, store, make, folder, seconds, results):
    distributed.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=processes)
    shared_cuts.FRAMES_PER_PIECE = 3
    try:
        found = make(folder, seconds[rank])
    except UserError as error:
        found = str(error)
    if found is not None and not isinstance(found, str):
        found = tuple(getattr(found, name) for name in ('objects', 'points', 'frames', 'masks', 'preds', 'meta'))
    results.put((rank, found))


def start(make, folder, seconds, store):
    context = multiprocessing.get_context('fork')
    results = context.Queue()
    common = (len(seconds), store, make, folder, seconds, results)
    processes = [context.Process(target=in_a_process, args=(rank, *common)) for rank in range(len(seconds))]
    for process in processes:
        process.start()
    return processes, results


def gather(processes, results):
    found = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=10)
    return found


def is_generation(found, expected):
    *arrays, meta = found
    assert meta == expected.meta
    for name, array in zip(('objects', 'points', 'frames', 'masks', 'preds'), arrays):
        assert array.dtype == getattr(expected, name).dtype
        assert array.tobytes() == getattr(expected, name).tobytes()


@pytest.mark.parametrize('seconds', [(0, 0), (0, 0, 0.05)])
def test_several_processes_cut_the_bank_of_one(tmp_path, seconds):
    found = gather(*start(bank, tmp_path / 'pieces', seconds, tmp_path / 'store'))
    _, expected = alone()
    assert len(expected.objects) > 20
    is_generation(found.pop(0), expected)
    assert set(found.values()) == {None}
    assert len(list((tmp_path / 'pieces').glob('*/*.npz'))) == 8


def test_several_processes_cut_the_paste_database_of_one(tmp_path):
    found = gather(*start(paste, tmp_path / 'pieces', (0, 0), tmp_path / 'store'))
    is_generation(found[0], cut_labelled_objects(POOL.load_points, CLASSES, LABELLED))


def test_one_process_needs_no_pieces(tmp_path):
    assert same(bank(tmp_path / 'pieces', 0), alone()[1])
    assert not (tmp_path / 'pieces').exists()


def test_a_run_after_a_killed_one_cuts_what_is_missing(tmp_path):
    processes, _ = start(bank, tmp_path / 'pieces', (0.05, 0.05), tmp_path / 'store')
    while len(list(tmp_path.glob('pieces/*/0*.npz'))) < 3:
        time.sleep(0.01)
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob('pieces/*/0*.npz')}
    assert 3 <= len(kept) < 8
    found = gather(*start(bank, tmp_path / 'pieces', (0, 0), tmp_path / 'again'))
    is_generation(found[0], alone()[1])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_processes_that_read_different_predictions_are_told(tmp_path):
    processes, results = start(other_facts, tmp_path / 'pieces', (0, 0), tmp_path / 'store')
    rank, said = results.get(timeout=60)
    for process in processes:
        process.kill()
    assert rank == 1
    assert 'process 1 has read other predictions or labels than the first one' in said


def test_a_damaged_piece_is_named(tmp_path):
    piece = tmp_path / '000000.npz'
    piece.write_bytes(b'PK\x03\x04 cut off')
    with pytest.raises(UserError, match=r'000000\.npz: not readable as an archive of arrays'):
        shared_cuts._read(piece)
    with pytest.raises(UserError, match=r'missing although all processes have written theirs'):
        shared_cuts._read(tmp_path / 'none.npz')
