"""Mining of HSSDA: what becomes a label for good, and whole runs that mine, stop and go on."""

import shutil
from typing import ClassVar

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS, init_default_scope

import ssal3d.register  # noqa: F401
from ssal3d.bank.box_bank import BoxBank
from ssal3d.configs import read_config
from ssal3d.data.frames import read_dataset_infos
from ssal3d.data.labelled import state_of
from ssal3d.errors import UserError
from ssal3d.registry import STAGES
from ssal3d.semi import ema
from ssal3d.semi.hssda.detector import HSSDA
from ssal3d.semi.hssda.label_store import BOUGHT, LabelStore, label_rows
from ssal3d.semi.hssda.levels import DEFAULTS, FramePrediction, LevelRules, ScoredBoxes, step_labels, view_levels
from ssal3d.semi.hssda.mining import (
    describe_labels,
    labelled_precision,
    mid_labels,
    mined_labels,
    mining_thresholds,
)
from ssal3d.stages.run import train_stage
from ssal3d.stages.supervised import StageInputs
from tests.helpers.paths import TINY

CLASSES = ('Pedestrian', 'Car')
SCORES = ((0.55, 0.6, 0.65, 0.92, 0.94, 0.96), (0.5, 0.5, 0.5, 0.9, 0.9, 0.9))  # s, r of the known cars


def car(x, y=0.0):
    return [x, y, -1.0, 4.0, 2.0, 1.5, 0.0]


def scored(boxes, s, r, labels=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 7)
    labels = torch.ones(len(boxes), dtype=torch.long) if labels is None else torch.tensor(labels)
    return ScoredBoxes(boxes, torch.tensor(s), torch.tensor(r), labels)


def cloud(frame_id, boxes=((20, 0), (30, 0), (40, 0), (60, 0))):
    """Ten points in the middle of each place but the last, which has five."""
    counts = [10] * (len(boxes) - 1) + [5]
    return np.repeat(np.array([(x, y, -1.0, 0.0) for x, y in boxes], np.float32), counts, axis=0)


@pytest.fixture
def store(tmp_path):
    """A bought frame with six cars, and two unlabelled frames."""
    boxes = [car(10.0 * k) for k in range(6)]
    return LabelStore.create(tmp_path / 'labels', {'a': label_rows(boxes, [1] * 6), 'b': None, 'c': None}, CLASSES)


@pytest.fixture
def predictions():
    """The bought frame's cars as predicted; in b two certain ones, an uncertain one and one with too few points."""
    known = scored([car(10.0 * k) for k in range(6)], *SCORES)
    shifts = (1.0, 1.0, 1.0, 0.05, 0.05, 0.05)
    other = scored([car(10.0 * k + shift) for k, shift in enumerate(shifts)], *SCORES)
    own = scored([car(20), car(30), car(40), car(60)], (0.95, 0.97, 0.7, 0.97), (0.95, 0.95, 0.95, 0.95))
    nothing = scored([], [], [])
    return [FramePrediction('a', known, other), FramePrediction('b', own, own), FramePrediction('c', nothing, nothing)]


def test_thresholds_come_from_frames_with_boxes(store, predictions):
    thresholds = mining_thresholds(predictions, store)
    assert thresholds['Car']['s'] == (0.94, 0.6)
    assert thresholds['Car']['r'] == (0.9, 0.5)
    high, low = thresholds['Car']['view_iou']
    assert (high, low) == pytest.approx((3.95 / 4.05, 3 / 5), abs=0.006)
    assert thresholds['Pedestrian'] == DEFAULTS


def test_certain_boxes_with_points_become_labels(store, predictions):
    loaded = []
    new = mined_labels(
        predictions, store, mining_thresholds(predictions, store), lambda frame: loaded.append(frame) or cloud(frame)
    )
    assert loaded == ['b']
    assert list(new) == ['b']
    np.testing.assert_allclose(new['b']['box'][:, 0], [20, 30])
    np.testing.assert_allclose(new['b']['s'], [0.95, 0.97])
    np.testing.assert_allclose(new['b']['r'], 0.95)
    assert new['b']['label'].tolist() == [1, 1]
    assert new['b']['weight'].tolist() == [1, 1]


@pytest.mark.parametrize('pool', ['all', 'labelled_only'])
def test_labels_only_grow_and_a_frozen_teacher_adds_no_more(store, predictions, pool):
    before = store.labels.copy()
    for epoch in (0, 5, 10):
        thresholds = mining_thresholds(predictions, store, pool)
        new = mined_labels(predictions, store, thresholds, cloud)
        assert bool(new) == (epoch == 0)
        store.publish(new, epoch, thresholds)
        kept = store.labels[store.labels['source'] == BOUGHT]
        assert kept.tobytes() == before.tobytes()
        assert len(store.labels) == len(before) + 2
    assert 'Car: 6 bought, 2 mined (0 new); high/low s' in describe_labels(store)


def test_what_was_mined_moves_thresholds_only_where_it_counts(store, predictions):
    first = mining_thresholds(predictions, store)
    store.publish(mined_labels(predictions, store, first, cloud), 0, first)
    assert mining_thresholds(predictions, store, 'labelled_only') == first
    assert mining_thresholds(predictions, store, 'all') != first


def test_middle_level_is_what_a_step_finds_after_the_mining(store, predictions):
    """In b two boxes are mined; the uncertain one and the one with too few points are of the middle level."""
    thresholds = mining_thresholds(predictions, store)
    rules = LevelRules.of(thresholds, CLASSES)
    mined = mined_labels(predictions, store, thresholds, cloud)
    mid = mid_labels(predictions, store, mined, rules)
    assert list(mid) == ['b']
    np.testing.assert_allclose(mid['b']['box'][:, 0], [40, 60])
    np.testing.assert_allclose(mid['b']['weight'], [0.7 * 0.95, 0.97 * 0.95], rtol=1e-6)
    store.publish(mined, 5, thresholds, mid=mid)
    for frame_id, own, other in predictions[1:]:
        known = torch.from_numpy(store.labels_of(frame_id)['box'].copy())
        found, weights = step_labels(own, view_levels(own, other, known, rules), rules)
        stored = store.mid_of(frame_id)
        assert torch.equal(found.boxes, torch.from_numpy(stored['box'].copy()))
        assert torch.equal(weights, torch.from_numpy(stored['weight'].copy()))
        assert found.labels.tolist() == stored['label'].tolist()
    assert len(mid_labels(predictions, store, {}, LevelRules.of(thresholds, CLASSES, ['Car']))) == 0


def test_right_boxes_of_bought_frames(store, predictions):
    """Three known cars pass all high thresholds; so do a pedestrian on one of them and a car where none is."""
    wrong = scored([car(10), car(90)], (0.99, 0.99), (0.99, 0.99), [0, 1])
    views = [ScoredBoxes(*map(torch.cat, zip(view, wrong))) for view in (predictions[0].original, predictions[0].other)]
    frames = [FramePrediction('a', *views), *predictions[1:]]
    thresholds = {name: {'s': (0.91, 0), 'r': (0.8, 0), 'view_iou': (0.9, 0)} for name in CLASSES}
    right, total = labelled_precision(frames, store, thresholds)
    assert (right.tolist(), total.tolist()) == ([0, 3], [1, 4])
    right, total = labelled_precision(predictions[1:], store, thresholds)
    assert (right.tolist(), total.tolist()) == ([0, 0], [0, 0])


@HOOKS.register_module()
class StopAt(Hook):
    """Breaks a run off at an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


@HOOKS.register_module()
class LabelsOnly(Hook):
    """Notes what the runs learn from unlabelled frames."""

    seen: ClassVar[list] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for sample in data_batch.get('unlabelled', {'data_samples': []})['data_samples']:
            LabelsOnly.seen.append((runner.epoch, sample.metainfo['frame_id'], sample))


# With these, most of what random weights predict is mined.
READY = dict(s=(-1.0, -1.0), r=(-1.0, -1.0), view_iou=(-1.0, -1.0))


@pytest.fixture
def run(street, tmp_path, monkeypatch):
    """Train the stage with four labelled frames: returns its folder."""
    monkeypatch.setenv('SSAL3D_KITTI', str(street))
    init_default_scope('mmdet3d')

    def build(name, stop=None, epochs=3, interval=1, accumulated=1, **method):
        config = read_config(TINY)
        view = DATASETS.build(dict(type='UnlabelledView', dataset=dict(config.pool_dataset, pipeline=[])))
        infos = read_dataset_infos(view.dataset)
        state_of(infos, view.metainfo['classes'], 'tiny', view.frame_ids[:4]).write(tmp_path / 'labels.json')
        mining = dict(interval=interval, defaults=READY)
        options = {**config.stages['hssda'], 'epochs': epochs, 'mining': mining}
        options['options'] = {**options['options'], 'optim_wrapper': {'accumulative_counts': accumulated}}
        stage = STAGES.build({**options, 'method': {**options['method'], **method}})
        inputs = StageInputs(tmp_path / name, tmp_path / 'labels.json', None, None, dict(batch_size=2, num_workers=0))
        run = stage.build_config(config, inputs)
        run.custom_hooks.append(dict(type='LabelsOnly'))
        if stop is not None:
            run.custom_hooks.append(dict(type='StopAt', iteration=stop))
        run.val_cfg = run.val_dataloader = run.val_evaluator = None
        LabelsOnly.seen.clear()
        train_stage(run, f'{name}-{stop}')
        return tmp_path / name

    return build


def state(folder, epoch):
    return torch.load(folder / f'epoch_{epoch}.pth', weights_only=False)['state_dict']


@pytest.mark.slow
def test_gradients_of_several_batches_make_a_step_of_student_and_teacher(run, monkeypatch):
    moved = []
    monkeypatch.setattr(ema, 'ema_update', lambda *_, **options: moved.append(options))
    folder = run('accumulated', epochs=1, accumulated=4)
    last = torch.load(folder / 'epoch_1.pth', weights_only=False)
    steps = -(-last['meta']['iter'] // 4)
    assert last['meta']['iter'] > 4
    assert len(moved) == steps
    assert {float(entry['step']) for entry in last['optimizer']['state'].values()} == {steps}


@pytest.mark.slow
def test_a_run_mines_pastes_and_goes_on_as_if_it_had_never_stopped(run):
    whole = run('whole', interval=2)
    labels = LabelStore(whole / 'labels')
    mined = labels.labels[labels.labels['source'] != BOUGHT]
    assert labels.generation == 2
    assert set(mined['born'].tolist()) <= {0, 2}
    assert len(mined) > 0
    first = LabelStore(whole / 'labels', 1)
    pasted = 0
    for epoch, frame_id, sample in LabelsOnly.seen:
        known = (first if epoch < 2 else labels).labels_of(frame_id)['label'].tolist()
        assert sample.gt_instances_3d.labels_3d.tolist() == known
        pasted += len(sample.candidates.labels)
    assert pasted > 0
    objects = BoxBank(whole / 'bank').open()
    assert 0 < objects.frames['labelled'].sum() > 4  # mined objects are in the paste database

    for stop in (8, 14):  # in the second epoch, which mines nothing, and in the third, which has mined
        with pytest.raises(KeyboardInterrupt):
            run('broken', stop, interval=2)
    broken = run('broken', interval=2)
    expected = state(whole, 3)
    assert all(torch.equal(value, expected[name]) for name, value in state(broken, 3).items())
    again = LabelStore(broken / 'labels')
    assert again.labels.tobytes() == labels.labels.tobytes()
    assert again.thresholds == labels.thresholds


@pytest.mark.slow
def test_missing_labels_of_a_resumed_run_are_an_error(run):
    folder = run('run', epochs=1, interval=2)
    for path in (folder / 'labels').glob('gen-000001'):
        path.rename(path.with_name('elsewhere'))
    with pytest.raises(UserError, match='gen-000001: no such generation'):
        run('run', epochs=2, interval=2)


@pytest.mark.slow
def test_a_run_with_middle_labels_of_the_last_mining(run, monkeypatch):
    """Steps need no teacher, and an interrupted run goes on with the labels of its generation."""
    options = dict(interval=2, mid_level='from_last_mining', low_level=False)
    looks, views = [], HSSDA.teacher_views
    monkeypatch.setattr(
        HSSDA, 'teacher_views', lambda self, points, *rest: looks.append(len(points)) or views(self, points, *rest)
    )
    whole = run('whole', **options)
    assert looks == [2] * 12  # two minings of 12 frames
    stores = [LabelStore(whole / 'labels', number) for number in (1, 2)]
    assert all(store.has_mid for store in stores)
    seen = 0
    for epoch, frame_id, sample in LabelsOnly.seen:
        stored = stores[epoch >= 2].mid_of(frame_id)
        assert np.array_equal(sample.mined_mid.boxes.numpy(), stored['box'])
        assert np.array_equal(sample.mined_mid.weights.numpy(), stored['weight'])
        seen += len(stored)
    assert seen > 0
    with pytest.raises(KeyboardInterrupt):
        run('broken', 8, **options)  # in the second epoch, which mines nothing
    shutil.copytree(whole.with_name('broken'), whole.with_name('other'))
    broken = run('broken', **options)
    expected = state(whole, 3)
    assert all(torch.equal(value, expected[name]) for name, value in state(broken, 3).items())
    for path in (whole.with_name('other') / 'labels').glob('gen-*'):
        number = int(path.name[4:])
        if number:  # as a run with another mid_level had left it
            store = LabelStore(path.parent, number - 1)
            store.publish({}, 0, {name: DEFAULTS for name in store.classes})
    with pytest.raises(UserError, match='generation 1 holds no labels of the middle level'):
        run('other', **options)


def test_mining_leaves_modes_and_random_numbers_alone(run, monkeypatch):
    states = []
    views = HSSDA.teacher_views

    def spy(self, *args, **kwargs):
        parts = [*self.student.modules(), *self.data_preprocessor.modules()]
        before = [module.training for module in parts], torch.get_rng_state()
        found = views(self, *args, **kwargs)
        assert not any(module.training for module in self.teacher.modules())
        states.append(([module.training for module in parts] == before[0], before[1]))
        assert torch.equal(torch.get_rng_state(), before[1])
        return found

    monkeypatch.setattr(HSSDA, 'teacher_views', spy)
    run('run', stop=None, epochs=1)
    assert all(same for same, _ in states)
    mining = states[:6]  # 12 frames, two at a time
    assert all(torch.equal(own, mining[0][1]) for _, own in mining)


def test_the_log_tells_what_was_mined_and_how_good_it_is(run):
    folder = run('run', epochs=2)
    scalars = torch.load(folder / 'epoch_2.pth', weights_only=False)['message_hub']['log_scalars']
    store = LabelStore(folder / 'labels')
    mined = store.labels['label'][store.labels['source'] != BOUGHT]
    for index, name in enumerate(store.classes):
        assert scalars[f'train/pseudo/{name}/mined'].data[0].tolist() == [(mined == index).sum()]
        assert 0 <= scalars.get(f'train/pseudo/{name}/precision_on_labelled', HistoryBuffer([0.5], [1])).current() <= 1
    assert any(name.endswith('/precision_on_labelled') for name in scalars)
