"""The store of labels: only grows, whole generations only, and says what is wrong with damaged ones."""

import multiprocessing
import os
import pickle
import shutil
import signal

import numpy as np
import pytest

from ssal3d.errors import UserError
from ssal3d.semi.hssda.label_store import BOUGHT, MID, MINED, LabelStore, label_rows

CLASSES = ('Pedestrian', 'Cyclist', 'Car')
THRESHOLDS = {'Car': {'s': (0.94, 0.6), 'r': (0.9, 0.5), 'view_iou': (0.93, 0.93)}}
FORK = multiprocessing.get_context('fork')


def rows(seed, count, **scores):
    rng = np.random.default_rng(seed)
    boxes = np.column_stack(
        (rng.uniform(-40, 40, (count, 3)), rng.uniform(1, 4, (count, 3)), rng.uniform(-3, 3, count))
    )
    return label_rows(boxes, rng.integers(0, 3, count), **scores)


def frames():
    return {'0003': None, '0001': rows(1, 3), '0002': rows(2, 0), '0000': None}


@pytest.fixture
def store(tmp_path):
    return LabelStore.create(tmp_path / 'labels', frames(), CLASSES)


def content(store):
    return {frame_id: list(map(bytes, store.labels_of(frame_id))) for frame_id in sorted(frames())}


def test_round_trip(store, tmp_path):
    found = LabelStore(tmp_path / 'labels')
    assert (found.generation, found.classes, found.epoch, found.thresholds) == (0, CLASSES, 0, {})
    labels = found.labels_of('0001')
    assert labels['box'].tolist() == rows(1, 3)['box'].tolist()
    assert labels['label'].tolist() == rows(1, 3)['label'].tolist()
    assert set(labels['source']) == {BOUGHT}
    assert set(labels['weight']) == set(labels['s']) == set(labels['r']) == {1.0}
    assert [len(found.labels_of(frame_id)) for frame_id in ('0000', '0002', '0003')] == [0, 0, 0]
    assert [found.is_bought(f'000{k}') for k in range(4)] == [False, True, True, False]
    files = sorted(str(path.relative_to(tmp_path / 'labels')) for path in (tmp_path / 'labels').rglob('*'))
    assert files == ['CURRENT', 'gen-000000', *(f'gen-000000/{n}' for n in ('frames.npy', 'labels.npy', 'meta.json'))]


def test_labels_only_grow(store):
    """Mined labels follow the older ones of their frame; every generation holds the previous one."""
    before = content(store)
    assert store.publish({'0003': rows(3, 2, s=0.95, r=0.9), '0000': rows(4, 1)}, 5, THRESHOLDS) == 1
    middle = content(store)
    assert store.publish({'0003': rows(5, 1, weight=0.5)}, 10) == store.generation == 2
    after = content(store)
    for old, new in ((before, middle), (middle, after)):
        assert all(new[frame_id][: len(labels)] == labels for frame_id, labels in old.items())
    assert [len(after[f'000{k}']) for k in range(4)] == [1, 3, 0, 3]
    mined = store.labels_of('0003')
    assert mined['born'].tolist() == [5, 5, 10]
    assert set(mined['source']) == {MINED}
    np.testing.assert_allclose(mined['s'], [0.95, 0.95, 1])
    assert mined['weight'].tolist() == [1, 1, 0.5]
    assert len(store.labels) == 7


def test_thresholds_are_recorded(store):
    store.publish({}, 5, THRESHOLDS)
    assert (store.thresholds, store.epoch) == (THRESHOLDS, 5)
    store.publish({}, 10)
    assert (store.thresholds, store.epoch) == (THRESHOLDS, 10)


def test_refused_labels(store):
    store.publish({'0003': rows(3, 2)}, 5)
    with pytest.raises(UserError, match=r'frame 0003: found the box .* twice, expected new boxes only'):
        store.publish({'0003': rows(3, 2)[:1]}, 10)
    with pytest.raises(UserError, match=r'frame 0000: found the box .* twice'):
        store.publish({'0000': np.concatenate((rows(6, 1), rows(6, 1)))}, 10)
    for frame_id in ('0001', '0002'):
        with pytest.raises(UserError, match=f'frame {frame_id}: found mined labels for a bought frame'):
            store.publish({frame_id: rows(7, 1)}, 10)
    with pytest.raises(UserError, match='frame 0009 is not in the label store'):
        store.publish({'0009': rows(7, 1)}, 10)
    with pytest.raises(UserError, match='frame 9 is not in the label store'):
        store.labels_of('9')
    with pytest.raises(UserError, match='frame 0000: found class index 3, expected 0 to 2'):
        store.publish({'0000': label_rows([[0, 0, 0, 1, 1, 1, 0]], [3])}, 10)
    with pytest.raises(UserError, match=r'frame 0000: found box .*, expected finite numbers and sizes above 0'):
        store.publish({'0000': label_rows([[0, 0, 0, 1, 0, 1, 0]], [1])}, 10)
    assert (store.generation, len(store.labels)) == (1, 5)


def test_same_box_in_two_frames_is_no_duplicate(store):
    store.publish({'0000': rows(3, 1), '0003': rows(3, 1)}, 5)
    assert len(store.labels) == 5


def test_publishing_twice_and_resuming(store, tmp_path):
    """A run resumed from generation 0 mines again: the same changes nothing, other labels replace generation 1."""
    store.publish({'0003': rows(3, 2)}, 5, THRESHOLDS)
    file = (tmp_path / 'labels' / 'gen-000001' / 'labels.npy').stat().st_ino
    resumed = LabelStore(tmp_path / 'labels', 0)
    resumed.publish({'0003': rows(3, 2)}, 5, THRESHOLDS)
    assert (tmp_path / 'labels' / 'gen-000001' / 'labels.npy').stat().st_ino == file
    store.publish({'0000': rows(4, 1)}, 10)
    resumed.use(1)
    assert len(resumed.labels) == 5
    del store  # lets go of generation 2
    resumed.publish({'0000': rows(8, 2)}, 10)
    assert (resumed.generation, len(resumed.labels_of('0000'))) == (2, 2)
    again = LabelStore.create(tmp_path / 'labels', frames(), CLASSES)
    assert (again.generation, len(again.labels), LabelStore(tmp_path / 'labels').generation) == (0, 3, 0)


def test_old_generations_go_unless_they_are_open_or_pinned(store, tmp_path):
    folder = tmp_path / 'labels'
    reader = LabelStore(folder, 1)
    for epoch in range(5, 30, 5):
        store.publish({'0003': rows(epoch, 1)}, epoch, keep_last=1, pinned=[2])
        if epoch == 5:
            assert len(reader.labels) == 4
    kept = sorted(path.name for path in folder.glob('gen-*'))
    assert kept == ['gen-000001', 'gen-000002', 'gen-000005']
    assert len(reader.labels_of('0003')) == 1


def test_goes_to_workers_without_its_maps(store):
    store.publish({'0003': rows(3, 2)}, 5)
    assert len(pickle.dumps(store)) < 300
    worker = pickle.loads(pickle.dumps(store))
    assert content(worker) == content(store)
    assert isinstance(worker.labels.base, np.memmap)
    with pytest.raises(ValueError, match='read-only'):
        worker.labels_of('0003')['s'] = 0


def test_killed_at_every_step_of_publishing(store, tmp_path):
    """After a kill the store holds the old generation or the new one, whole; a second attempt succeeds."""

    def publish(folder, step):
        left = [step]

        def faulty(function):
            def call(*arguments, **keywords):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **keywords)

            return call

        for name in ('replace', 'mkdir', 'unlink', 'rmdir'):
            setattr(os, name, faulty(getattr(os, name)))
        os.fsync = lambda _: None
        np.save = faulty(np.save)
        LabelStore(folder).publish({'0003': rows(9, 2)}, 10)
        os._exit(0)

    store.publish({'0003': rows(3, 1)}, 5)
    sizes = {1: 4, 2: 6}
    for step in range(60):
        folder = shutil.copytree(tmp_path / 'labels', tmp_path / str(step))
        child = FORK.Process(target=publish, args=(folder, step))
        child.start()
        child.join(60)
        found = LabelStore(folder)
        assert len(found.labels) == sizes[found.generation]
        LabelStore(folder, 1).publish({'0003': rows(9, 2)}, 10)
        assert len(LabelStore(folder).labels) == 6
        assert not [path for path in folder.iterdir() if path.name.startswith('.')]
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
    assert 5 < step < 60


def test_middle_level_is_replaced_by_every_mining(store, tmp_path):
    """It belongs to a generation: frames without have none; a run resumed from an older one sees the older labels."""
    assert not store.has_mid
    assert len(store.mid_of('0003')) == 0
    store.publish({'0003': rows(3, 1)}, 5, mid={'0003': rows(4, 2, s=0.8, r=0.5, weight=0.4), '0000': rows(5, 1)})
    store.publish({}, 10, mid={'0000': rows(6, 3)}, keep_last=3)
    store.publish({}, 15, keep_last=3)
    for number, counts in ((1, (1, 0, 2)), (2, (3, 0, 0)), (3, (0, 0, 0))):
        found = LabelStore(tmp_path / 'labels', number)
        assert found.has_mid == (number < 3)
        assert tuple(len(found.mid_of(frame_id)) for frame_id in ('0000', '0001', '0003')) == counts
        assert len(found.labels_of('0003')) == 1  # labels for good stay apart
    mid = LabelStore(tmp_path / 'labels', 1).mid_of('0003')
    assert mid['box'].tobytes() == rows(4, 2)['box'].tobytes()
    np.testing.assert_allclose([mid['s'], mid['r'], mid['weight']], np.repeat([[0.8], [0.5], [0.4]], 2, axis=1))
    assert (set(mid['source']), set(mid['born'])) == ({MID}, {5})


def test_middle_level_is_content(store, tmp_path):
    """Publishing without it replaces a generation with it; publishing the same again does not."""
    file = tmp_path / 'labels' / 'gen-000001' / 'mid.npy'
    store.publish({}, 5, mid={})
    assert store.has_mid
    node = file.stat().st_ino
    resumed = LabelStore(tmp_path / 'labels', 0)
    resumed.publish({}, 5, mid={})
    assert file.stat().st_ino == node
    resumed.use(0)
    resumed.publish({}, 5)
    assert not file.exists()
    with pytest.raises(UserError, match='frame 0001: found mined labels for a bought frame'):
        store.publish({}, 10, mid={'0001': rows(7, 1)})


class TestDamage:
    def test_missing_middle_level(self, store, tmp_path):
        store.publish({}, 5, mid={'0003': rows(3, 1)})
        (tmp_path / 'labels' / 'gen-000001' / 'mid.npy').unlink()
        with pytest.raises(UserError, match=r'mid\.npy: not readable'):
            LabelStore(tmp_path / 'labels').mid_of('0003')

    def test_missing_generation(self, store, tmp_path):
        with pytest.raises(
            UserError, match=r'gen-000007: no such generation, found gen-000000; resume from a checkpoint'
        ):
            store.use(7)
        with pytest.raises(UserError, match='no generation is published; create the label store first'):
            LabelStore(tmp_path / 'none').labels_of('0001')

    @pytest.mark.parametrize('name', ['labels', 'frames'])
    def test_damaged_files(self, store, tmp_path, name):
        path = tmp_path / 'labels' / 'gen-000000' / f'{name}.npy'
        array = np.load(path)
        np.save(path, array[:-1])
        with pytest.raises(UserError, match=rf'{name}\.npy: found \d rows, expected \d as in meta\.json'):
            store.use(0)
        np.save(path, np.zeros(len(array)))
        with pytest.raises(UserError, match=rf'{name}\.npy: found float64, expected the columns'):
            store.use(0)
        path.write_bytes(b'')
        with pytest.raises(UserError, match=rf'{name}\.npy: not readable'):
            store.use(0)
