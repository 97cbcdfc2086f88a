import json
import multiprocessing
import os
import pickle
import shutil
import signal
from contextlib import suppress

import numpy as np
import pytest

from ssal3d import fileio
from ssal3d.bank.box_bank import BoxBank
from ssal3d.cpsp.refresh import refresh
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.errors import UserError
from tests.helpers.cpsp_builders import CLASSES, RandomPool, object_points, same

FORK = multiprocessing.get_context('fork')


def chain(length, frames=6, seed=0):
    """Generations that follow each other."""
    pool, generations = RandomPool(frames, seed), [None]
    settings = cpsp_settings(k_first=6, k_next=6)
    for number in range(length):
        predictions = pool.predict(number)
        generations.append(
            refresh(pool.load_points, CLASSES, settings, predictions=predictions, previous=generations[-1])
        )
    return generations[1:]


def check_consistent(generation):
    """What must hold in any generation that a reader gets, whatever a writer does meanwhile."""
    objects = generation.objects
    assert generation.meta['rows'] == {
        name: len(getattr(generation, name)) for name in ('objects', 'points', 'frames', 'masks', 'preds')
    }
    assert objects['n_pts'].sum() == len(generation.points)
    assert (objects['born'] <= generation.number).all()
    for row in range(len(objects)):
        points = object_points(generation, row)
        distance = np.linalg.norm(points[:, :3] - objects['box'][row, :3], axis=1)
        assert (distance <= np.linalg.norm(objects['box'][row, 3:6]) / 2 + 1e-4).all()


def run_in_child(function, *arguments):
    child = FORK.Process(target=function, args=arguments)
    child.start()
    child.join(60)
    return child.exitcode


@pytest.fixture(scope='module')
def generations():
    return chain(4)


def test_round_trip(generations, tmp_path):
    bank = BoxBank(tmp_path / 'bank')
    path = bank.publish(generations[0])
    opened = bank.open()
    opened.meta.pop('rows')
    assert same(opened, generations[0])
    assert path.name == 'gen-000000'
    assert (tmp_path / 'bank' / 'CURRENT').read_text() == 'gen-000000\n'
    assert (opened.number, opened.classes, opened.tau) == (0, CLASSES, generations[0].tau)


def test_fewer_than_ten_files(generations, tmp_path):
    path = BoxBank(tmp_path).publish(generations[0])
    assert sorted(file.name for file in path.iterdir()) == [
        'frames.npy', 'masks.npy', 'meta.json', 'objects.npy', 'points.npy', 'preds.npy'
    ]  # fmt: skip
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['CURRENT', 'gen-000000']


def test_arrays_are_mapped_read_only_and_opened_once(generations, tmp_path):
    bank = BoxBank(tmp_path)
    bank.publish(generations[0])
    opened = bank.open(0)
    assert bank.open(0) is bank.open() is opened
    with pytest.raises(ValueError, match='read-only'):
        opened.points[0] = 0
    assert isinstance(opened.points.base, np.memmap)


def test_empty_generation(tmp_path):
    pool = RandomPool(2)
    pool.clouds = {frame_id: np.empty((0, 4), np.float32) for frame_id in pool.ids}
    generation = refresh(pool.load_points, CLASSES, cpsp_settings(), predictions=pool.predict(0))
    bank = BoxBank(tmp_path)
    bank.publish(generation)
    assert (len(bank.open().objects), len(bank.open().points), len(bank.open().masks)) == (0, 0, 0)
    assert bank.open().background('0000', pool.clouds['0000']).shape == (0, 4)


def test_refresh_from_disk_equals_refresh_from_memory(generations, tmp_path):
    pool, bank = RandomPool(6), BoxBank(tmp_path)
    bank.publish(generations[0])
    settings = cpsp_settings(k_first=6, k_next=6)
    following = refresh(pool.load_points, CLASSES, settings, predictions=pool.predict(1), previous=bank.open(0))
    assert same(following, generations[1])


def test_publishing_twice_is_legal(generations, tmp_path):
    bank = BoxBank(tmp_path)
    bank.publish(generations[0])
    path = bank.publish(generations[1])
    before = (path / 'objects.npy').stat().st_ino
    assert bank.publish(generations[1]) == path
    assert (path / 'objects.npy').stat().st_ino == before  # not written again
    assert bank.generations() == [0, 1]
    assert bank.current() == 1


def test_resumed_run_replaces_generations_with_other_content(generations, tmp_path):
    """A run resumed from generation 0 predicts a little differently: its 1 replaces the old 1, the old 2 goes."""
    bank, other = BoxBank(tmp_path), chain(2, seed=9)
    for generation in generations[:3]:
        bank.publish(generation, keep_last=3)
    held = bank.open(1)
    bank.publish(other[1], keep_last=3)
    assert bank.generations() == [0, 1]
    assert bank.current() == 1
    assert held.points.tobytes() == generations[1].points.tobytes()  # what was open stays readable
    assert bank.open(1).points.tobytes() == other[1].points.tobytes()
    bank.publish(other[0])
    assert bank.generations() == [0, 1]  # 1 is of a future that will not come, but still open here
    assert bank.open(0).number == bank.current() == 0
    assert bank.collect_garbage() == [1]
    assert bank.open().points.tobytes() == other[0].points.tobytes()


def test_collector_keeps_the_last_and_the_pinned(generations, tmp_path):
    bank = BoxBank(tmp_path)
    for generation in generations:
        bank.publish(generation, keep_last=2, pinned=[0])
    assert bank.generations() == [0, 2, 3]
    assert bank.collect_garbage(keep_last=1) == [0, 2]
    assert bank.collect_garbage(keep_last=0) == []  # the current one always stays
    assert bank.generations() == [3]


def test_open_generation_is_not_deleted(generations, tmp_path):
    """Another process has generation 0 open: it stays until that process lets go of it."""
    bank = BoxBank(tmp_path)
    bank.publish(generations[0])
    opened, done = FORK.Event(), FORK.Event()

    def hold(folder):
        generation = BoxBank(folder).open(0)
        opened.set()
        done.wait(30)
        os._exit(0 if generation.points.tobytes() == generations[0].points.tobytes() else 1)

    child = FORK.Process(target=hold, args=(tmp_path,))
    child.start()
    assert opened.wait(30)
    for generation in generations[1:]:
        bank.publish(generation, keep_last=1)
    assert bank.generations() == [0, 3]
    done.set()
    child.join(30)
    assert child.exitcode == 0
    assert bank.collect_garbage(keep_last=1) == [0]


def test_killed_reader_leaves_no_pin(generations, tmp_path):
    bank = BoxBank(tmp_path)
    bank.publish(generations[0])

    def die(folder):
        BoxBank(folder).open(0)
        os.kill(os.getpid(), signal.SIGKILL)

    assert run_in_child(die, tmp_path) == -signal.SIGKILL
    bank.publish(generations[1], keep_last=1)
    assert bank.generations() == [1]


def test_bank_goes_to_workers_without_its_maps(generations, tmp_path):
    bank = BoxBank(tmp_path)
    bank.publish(generations[0])
    opened = bank.open()
    assert len(pickle.dumps(bank)) < 500
    assert pickle.loads(pickle.dumps(bank)).open().points.tobytes() == opened.points.tobytes()
    with pytest.raises(TypeError, match='send the BoxBank'):
        pickle.dumps(opened)


class Fault:
    """Kills the process before the n-th call that changes the disk."""

    def __init__(self, step):
        self.left = step

    def __call__(self, function):
        def faulty(*arguments, **keywords):
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **keywords)

        return faulty

    def install(self):
        for name in ('replace', 'fsync', 'mkdir', 'unlink', 'rmdir'):
            setattr(os, name, self(getattr(os, name)))
        np.save = self(np.save)
        fileio.Path.write_text = self(fileio.Path.write_text)


@pytest.mark.parametrize('case', ['first', 'next', 'replacing', 'replacing the first'])
def test_killed_at_every_step_of_publishing(generations, tmp_path, monkeypatch, case):
    """After a kill the bank holds the old generation or the new one, whole; a second attempt succeeds."""
    monkeypatch.setattr(os, 'fsync', lambda _: None)  # a killed process loses nothing that it wrote
    other = chain(2, seed=9)
    before, new = {
        'first': ([], generations[0]),
        'next': (generations[:2], generations[2]),
        'replacing': (generations[:2], other[1]),
        'replacing the first': (generations[:1], other[0]),
    }[case]

    def publish(folder, step):
        Fault(step).install()
        BoxBank(folder).publish(new, keep_last=2)
        os._exit(0)

    (tmp_path / 'before').mkdir()
    for generation in before:
        BoxBank(tmp_path / 'before').publish(generation)
    for step in range(200):
        folder = shutil.copytree(tmp_path / 'before', tmp_path / str(step))
        code = run_in_child(publish, folder, step)
        current = BoxBank(folder).current()
        assert current in {new.number, new.meta['parent']}
        if current is None:
            with pytest.raises(UserError, match='no generation is published'):
                BoxBank(folder).open()
        else:
            opened = BoxBank(folder).open()
            check_consistent(opened)
            candidates = [new, *(generation for generation in before if generation.number == current)]
            assert opened.points.tobytes() in [g.points.tobytes() for g in candidates if g.number == current]
        BoxBank(folder).publish(new)
        assert BoxBank(folder).open().points.tobytes() == new.points.tobytes()
        assert not [path for path in folder.iterdir() if path.name.startswith('.')]
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert 10 < step < 200


def test_two_readers_while_a_writer_publishes_100_generations(tmp_path):
    """Every generation that a reader gets is consistent, and readers see new ones appear."""
    generations, stop = chain(2, frames=3), FORK.Event()
    BoxBank(tmp_path).publish(generations[0])

    def read(folder, seen):
        bank, numbers = BoxBank(folder), set()
        while not stop.is_set() or len(numbers) < 2:
            generation = bank.open()
            check_consistent(generation)
            assert generation.meta['generation'] == int(generation.source[-6:])
            numbers.add(generation.number)
        seen.put(len(numbers))

    seen = FORK.Queue()
    readers = [FORK.Process(target=read, args=(tmp_path, seen)) for _ in range(2)]
    for reader in readers:
        reader.start()
    writer = BoxBank(tmp_path)
    for number in range(1, 101):
        source = generations[number % 2]
        meta = {**source.meta, 'generation': number, 'parent': number - 1}
        writer.publish(type(source)(source.objects, source.points, source.frames, source.masks, source.preds, meta))
    stop.set()
    counts = [seen.get(timeout=30) for _ in readers]
    for reader in readers:
        reader.join(30)
        assert reader.exitcode == 0
    assert min(counts) >= 2
    writer.collect_garbage()
    assert writer.generations() == [99, 100]


def test_mask_must_fit_the_cloud(generations, tmp_path):
    bank, pool = BoxBank(tmp_path), RandomPool(6)
    bank.publish(generations[0])
    cloud = pool.load_points('0002')
    with pytest.raises(UserError, match=f'frame 0002 has {len(cloud) - 1} points, expected {len(cloud)} as when'):
        bank.open().background('0002', cloud[:-1])
    with pytest.raises(UserError, match='frame 000002 is not in the bank'):
        bank.open().background('000002', cloud)


class TestDamage:
    """Damaged banks are refused with the file, what was found, and what to do."""

    @pytest.fixture
    def bank(self, generations, tmp_path):
        BoxBank(tmp_path).publish(generations[0])
        BoxBank(tmp_path).publish(generations[1])
        return BoxBank(tmp_path)

    def test_missing_generation(self, bank):
        with pytest.raises(
            UserError, match=r'gen-000007: no such generation, found gen-000000, gen-000001; resume from a checkpoint'
        ):
            bank.open(7)

    def test_nothing_published(self, tmp_path):
        bank = BoxBank(tmp_path / 'none')
        assert (bank.generations(), bank.current(), bank.collect_garbage()) == ([], None, [])
        with pytest.raises(UserError, match='no generation is published; build the bank first'):
            bank.open()

    def test_current_names_nothing(self, bank, tmp_path):
        (tmp_path / 'CURRENT').write_text('gen-000042\n')
        with pytest.raises(UserError, match='gen-000042: no such generation, found gen-000000, gen-000001'):
            bank.open()
        (tmp_path / 'CURRENT').write_text('seven')
        with pytest.raises(UserError, match="CURRENT: found 'seven', expected a name such as gen-000007"):
            bank.open()

    @pytest.mark.parametrize('name', ['objects', 'points', 'frames', 'masks', 'preds'])
    def test_cut_file(self, bank, name):
        path = bank.path(1) / f'{name}.npy'
        content = path.read_bytes()
        path.write_bytes(content[: len(content) - 8])
        with pytest.raises(UserError, match=rf'{name}\.npy: (not readable|found).*build it again'):
            bank.open(1)
        bank.open(0)

    @pytest.mark.parametrize('name', ['objects', 'points', 'frames', 'masks', 'preds'])
    def test_shortened_array(self, bank, name):
        path = bank.path(1) / f'{name}.npy'
        np.save(path, np.load(path)[:-1])
        with pytest.raises(UserError, match=rf'{name}\.npy: found \d+ rows, expected \d+ as in meta\.json'):
            bank.open(1)

    @pytest.mark.parametrize('name', ['objects', 'points', 'frames', 'masks', 'preds'])
    def test_wrong_type(self, bank, name):
        path = bank.path(1) / f'{name}.npy'
        np.save(path, np.zeros(len(np.load(path))))
        with pytest.raises(UserError, match=rf'{name}\.npy: found float64, expected .*; delete this generation'):
            bank.open(1)

    def test_objects_of_a_pickle_are_not_loaded(self, bank):
        np.save(bank.path(1) / 'objects.npy', np.array([{}], dtype=object), allow_pickle=True)
        with pytest.raises(UserError, match=r'objects\.npy: not readable'):
            bank.open(1)

    def test_counts_that_do_not_add_up(self, bank):
        path = bank.path(1) / 'objects.npy'
        objects = np.load(path)
        objects['n_pts'][0] += 1
        np.save(path, objects)
        with pytest.raises(UserError, match=r'points\.npy: found \d+ rows, expected \d+, the sum of n_pts'):
            bank.open(1)

    def test_meta_data(self, bank):
        path = bank.path(1) / 'meta.json'
        meta = json.loads(path.read_text())
        path.write_text(json.dumps({**meta, 'schema': 2}))
        with pytest.raises(UserError, match='found schema 2, expected 1'):
            bank.open(1)
        path.write_text(json.dumps({key: value for key, value in meta.items() if key != 'tau'}))
        with pytest.raises(UserError, match="missing key 'tau'"):
            bank.open(1)
        path.write_text(json.dumps({**meta, 'generation': 4}))
        with pytest.raises(UserError, match=r'gen-000001/meta\.json: found generation 4, expected that of the folder'):
            bank.open(1)
        for key in ('settings', 'provenance'):  # a training compares them with its own
            path.write_text(json.dumps({**meta, key: [3]}))
            with pytest.raises(UserError, match=rf'meta\.json: {key}: found \[3\], expected an object'):
                bank.open(1)
        path.unlink()
        with pytest.raises(UserError, match='no such generation'):
            bank.open(1)

    def test_damaged_generation_is_collected(self, bank):
        (bank.path(0) / 'meta.json').unlink()
        assert bank.collect_garbage(keep_last=1) == [0]
        assert bank.generations() == [1]

    def test_damaged_generation_is_replaced_by_publishing_it_again(self, bank, generations):
        (bank.path(1) / 'points.npy').write_bytes(b'')
        bank.publish(generations[1])
        assert bank.open(1).points.tobytes() == generations[1].points.tobytes()


def test_locks_that_the_file_system_refuses(generations, tmp_path, monkeypatch):
    """Without locks everything works; only the last generations are safe from the collector."""

    def refuse(*_):
        raise OSError(95, 'Operation not supported')

    monkeypatch.setattr('fcntl.flock', refuse)
    bank = BoxBank(tmp_path)
    for generation in generations:
        bank.publish(generation)
        assert bank.open().number == generation.number
    assert bank.generations() == [2, 3]


def test_rows_by_class_source_and_points(generations):
    generation = generations[2]
    objects = generation.objects
    for name in CLASSES:
        rows = generation.rows(name, ('confident',), 5)
        wanted = (objects['label'] == CLASSES.index(name)) & (objects['source'] == 1) & (objects['n_pts'] >= 5)
        assert rows.tolist() == np.flatnonzero(wanted).tolist()
    assert generation.rows('Car', ('confident',), 5) is generation.rows('Car', ('confident',), 5)
    with pytest.raises(UserError, match="unknown class 'Van'"):
        generation.rows('Van', ('confident',))
    with pytest.raises(UserError, match=r"unknown object source 'confidence'.*did you mean 'confident'"):
        generation.rows('Car', ('confidence',))


def test_a_forked_child_does_not_drop_its_parents_pin(generations, tmp_path):
    bank = BoxBank(tmp_path)
    bank.publish(generations[0])
    held = BoxBank(tmp_path)
    held.open(0)

    def switch():
        with suppress(UserError):
            held.open(1)
        os._exit(0)

    assert run_in_child(switch) == 0
    bank.publish(generations[1], keep_last=1)
    assert bank.generations() == [0, 1]
