from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.generation import CONFIDENT, FALSE_POSITIVE, GROUND_TRUTH
from ssal3d.bank.hook import describe
from ssal3d.bank.paste import PasteSettings, Scene, paste_objects
from ssal3d.cpsp.confidence import class_threshold
from ssal3d.cpsp.refresh import refresh
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.data.kitti_format import camera_boxes_to_lidar, camera_image_size, in_camera_view, read_calibration
from ssal3d.data.kitti_objects import read_objects
from ssal3d.errors import UserError
from ssal3d.ops.boxes import bev_iou, points_in_boxes, points_per_box
from tests.helpers.cpsp_builders import CLASSES, RandomPool, box, object_points, points_in, predictions_of, same

SLACK = np.array([0, 0, 0, 2e-4, 2e-4, 2e-4, 0])  # points are stored relative to the centre in float32
FEW = {'k_first': 6, 'k_next': 6}


def annotate(pool, ids):
    """Annotations of some frames; Cyclists stand for a class that is not trained."""
    names = {'Car': 'Car', 'Pedestrian': 'Pedestrian', 'Cyclist': 'Van'}
    return LabelledObjects.from_frames(
        [(i, [b for b, _ in pool.objects[i]], [names[n] for _, n in pool.objects[i]]) for i in ids]
    )


def check_invariants(generation, load_points, predictions, labelled, settings):
    """The invariants of every generation (specification 2.6.5)."""
    objects, frames, meta = generation.objects, generation.frames, generation.meta
    labelled_ids = set() if labelled is None else set(labelled.frame_ids.tolist())
    assert set(frames['frame_id'].tolist()) == labelled_ids | set(predictions.frame_ids.tolist())
    assert (objects['n_pts'] >= 1).all()
    assert objects['offset'].tolist() == (np.cumsum(objects['n_pts']) - objects['n_pts']).tolist()
    assert (np.diff(objects['frame']) >= 0).all()
    assert len(np.unique(objects['uid'])) == len(objects)
    is_labelled = frames['labelled'][objects['frame']]
    assert is_labelled[objects['source'] == GROUND_TRUTH].all()
    assert not is_labelled[objects['source'] == CONFIDENT].any()
    low = np.array([np.float32(meta['tau_low'][name]) for name in generation.classes])
    position = predictions.index()
    for row, frame_id in enumerate(frames['frame_id'].tolist()):
        cloud, own = load_points(frame_id), np.flatnonzero(objects['frame'] == row)
        background = generation.background(frame_id, cloud)
        entries = own[objects['source'][own] != FALSE_POSITIVE]
        forbidden = objects['box'][entries]
        if frame_id in position:
            rows = predictions.boxes_of(position[frame_id])
            above = predictions.scores[rows] > low[predictions.labels[rows]]
            forbidden = np.concatenate((forbidden, predictions.boxes[rows][above]))
        else:
            annotated = labelled.frame_ids.tolist().index(frame_id)
            forbidden = labelled.boxes[labelled.offsets[annotated] : labelled.offsets[annotated + 1]]
        assert (points_in_boxes(background, forbidden) == -1).all()
        assert len(background) == (points_in_boxes(cloud, forbidden) == -1).sum()
        for k in own:
            points, where = object_points(generation, k), objects['box'][k : k + 1].astype(float)
            assert len(points) == points_per_box(cloud, where)[0]
            assert (points_in_boxes(points, where + SLACK) == 0).all()
        false = objects['box'][own[objects['source'][own] == FALSE_POSITIVE]]
        if settings.fp_clear_of_bank and len(false):
            assert bev_iou(false, objects['box'][entries]).max(initial=0) == 0


@pytest.mark.parametrize(
    'settings',
    [
        cpsp_settings(**FEW),
        cpsp_settings(**FEW, del_after=3, match_same_class=True),
        cpsp_settings('paper', **FEW),
        cpsp_settings(**FEW, select='top_cluster', fp_source='labelled', tau_low=0.3, fp_min_points=1),
        cpsp_settings(k_first=2, k_next=2, tau_low=0.6, fp_min_points=1),
    ],
    ids=['ours', 'patient', 'paper', 'labelled-fp', 'low-threshold'],
)
@pytest.mark.parametrize('seed', [0, 1])
def test_invariants_hold_in_every_generation(settings, seed):
    pool, previous = RandomPool(16, seed), None
    labelled = annotate(pool, pool.ids[::4])
    ids = [i for i in pool.ids if i not in labelled.frame_ids]
    kinds = dict.fromkeys(('kept', 'replaced', 'deleted', 'added'), 0)
    for number in range(4):
        predictions = pool.predict(number, ids=ids)
        on_labelled = pool.predict(number, ids=labelled.frame_ids.tolist())
        previous = refresh(
            pool.load_points, CLASSES, settings,
            predictions=predictions, labelled=labelled, labelled_predictions=on_labelled, previous=previous,
        )  # fmt: skip
        assert (previous.number, previous.meta['parent']) == (number, number - 1 if number else None)
        check_invariants(previous, pool.load_points, predictions, labelled, settings)
        for kind in kinds:
            kinds[kind] += sum(entry[kind] for entry in previous.meta['changes'].values())
    assert kinds['kept'], kinds
    assert kinds['added'] + kinds['replaced'] > kinds['kept'] / 2, kinds
    assert kinds['deleted'] > 0 or settings.del_after > 1, kinds
    assert (previous.objects['source'] == FALSE_POSITIVE).any()


def test_first_build_takes_what_reaches_the_threshold():
    pool, settings = RandomPool(12), cpsp_settings(**FEW)
    predictions = pool.predict(0)
    generation = refresh(pool.load_points, CLASSES, settings, predictions=predictions)
    expected = []
    for label, name in enumerate(CLASSES):
        tau = class_threshold(predictions.scores[predictions.labels == label], 6, settings)
        assert generation.tau[name] == tau
        for k in np.flatnonzero((predictions.labels == label) & (predictions.scores >= max(tau, 0.21))):
            frame_id = predictions.frame_ids[predictions.frame_of_box[k]]
            if points_per_box(pool.load_points(frame_id), predictions.boxes[k : k + 1])[0]:
                expected.append((str(frame_id), predictions.boxes[k].tolist()))
    found = generation.objects[generation.objects['source'] == CONFIDENT]
    assert sorted(zip(generation.frames['frame_id'][found['frame']].tolist(), found['box'].tolist())) == sorted(
        expected
    )
    assert len(expected) > 5
    added = {name: entry['added'] for name, entry in generation.meta['changes'].items()}
    assert added == {name: int((found['label'] == label).sum()) for label, name in enumerate(CLASSES)}


def test_refresh_clusters_what_the_previous_predictions_repeat():
    pool, settings = RandomPool(12), cpsp_settings(**FEW)
    first, second = pool.predict(0), pool.predict(1)
    previous = refresh(pool.load_points, CLASSES, settings, predictions=first)
    generation = refresh(pool.load_points, CLASSES, settings, predictions=second, previous=previous)
    repeated = np.zeros(len(second.boxes), bool)
    for frame in range(len(second)):
        ious = bev_iou(second.boxes[second.boxes_of(frame)], first.boxes[first.boxes_of(frame)])
        repeated[second.boxes_of(frame)] = (ious > 0.5).any(1)
    assert 0 < repeated.sum() < len(repeated)
    for label, name in enumerate(CLASSES):
        assert generation.tau[name] == class_threshold(second.scores[repeated & (second.labels == label)], 6, settings)
    free = refresh(
        pool.load_points, CLASSES, replace(settings, stability_filter=False), predictions=second, previous=previous
    )
    assert free.tau != generation.tau


def test_same_input_gives_the_same_bytes_for_any_shards():
    pool, settings = RandomPool(11), cpsp_settings(**FEW, del_after=2)
    labelled = annotate(pool, pool.ids[3:5])
    ids = pool.ids[:3] + pool.ids[5:]
    first, second = (pool.predict(number, ids=ids) for number in range(2))
    arguments = {'labelled': labelled, 'provenance': {'checkpoint_sha256': 'ab'}}
    base = refresh(pool.load_points, CLASSES, settings, predictions=first, **arguments)
    expected = refresh(pool.load_points, CLASSES, settings, predictions=second, previous=base, **arguments)

    def again(**how):
        return refresh(pool.load_points, CLASSES, settings, predictions=second, previous=base, **arguments, **how)

    for shards in (1, 4, 40):
        assert same(again(shards=shards), expected)
    with ThreadPoolExecutor(4) as threads:
        assert same(again(shards=4, executor=threads), expected)
    with ProcessPoolExecutor(2) as processes:
        assert same(again(shards=4, executor=processes), expected)


def test_every_cloud_is_loaded_once():
    pool, loaded = RandomPool(6), []

    def load_points(frame_id):
        loaded.append(frame_id)
        return pool.load_points(frame_id)

    refresh(load_points, CLASSES, cpsp_settings(), predictions=pool.predict(0), shards=2)
    assert loaded == pool.ids


def test_order_of_the_predictor_s_classes_does_not_matter():
    pool, entries = RandomPool(1), [(box(10, 0), 0.9, 'Car'), (box(20, 0), 0.8, 'Cyclist'), (box(30, 0), 0.1, 'Car')]
    cloud = points_in([entry[0] for entry in entries], 9, np.random.default_rng(0))
    other = ('Cyclist', 'Car')
    generations = [
        refresh(lambda _: cloud, CLASSES, cpsp_settings(), predictions=predictions_of({pool.ids[0]: entries}, classes))
        for classes in (CLASSES, other)
    ]
    assert same(*generations)
    assert generations[0].meta['objects']['Cyclist'] == {'ground_truth': 0, 'confident': 1, 'false_positive': 0}


def test_annotations_change_nothing_about_unlabelled_frames():
    """What the labelled frames hold, and what is predicted there, decides no threshold and no unlabelled frame."""
    pool, settings = RandomPool(12), cpsp_settings(**FEW)
    labelled, ids = annotate(pool, pool.ids[:4]), pool.ids[4:]
    garbage = replace(labelled, boxes=labelled.boxes[::-1].copy(), names=np.full(len(labelled.names), 'Pedestrian'))
    predictions = pool.predict(0, ids=ids)
    one = refresh(pool.load_points, CLASSES, settings, predictions=predictions, labelled=labelled)
    two = refresh(
        pool.load_points, CLASSES, settings, predictions=predictions, labelled=garbage,
        labelled_predictions=pool.predict(5, ids=pool.ids[:4]),
    )  # fmt: skip
    assert one.tau == two.tau
    unlabelled = [g.objects[g.objects['source'] != GROUND_TRUTH] for g in (one, two)]
    names = [name for name in one.objects.dtype.names if name != 'offset']
    assert all(unlabelled[0][name].tolist() == unlabelled[1][name].tolist() for name in names)
    for frame_id in ids:
        count = len(pool.load_points(frame_id))
        assert one.keep_mask(frame_id, count).tolist() == two.keep_mask(frame_id, count).tolist()
    assert one.objects[one.objects['source'] == GROUND_TRUTH]['box'].tolist() != (
        two.objects[two.objects['source'] == GROUND_TRUTH]['box'].tolist()
    )


def labelled_boxes_seen_as(pool, ids, name, wrong, score=1.0):
    """Predictions of every annotated box of a class, the first ones of them 4 m beside it."""
    seen, left = {}, wrong
    for frame_id in ids:
        seen[frame_id] = []
        for where, found in pool.objects[frame_id]:
            if found == name:
                shift = np.array([0, 4.0 * (left > 0), 0, 0, 0, 0, 0])
                seen[frame_id].append((where + shift, score, name))
                left -= 1
    assert sum(map(len, seen.values())) > wrong > left
    return predictions_of(seen)


@pytest.mark.parametrize(
    ('least', 'from_count', 'trusted'), [(0.9, 5, False), (0.5, 5, True), (0.9, 50, True), (0, 5, True)]
)
def test_a_class_that_is_wrong_on_labelled_frames_gives_nothing_confident(least, from_count, trusted):
    pool = RandomPool(14)
    labelled, ids = annotate(pool, pool.ids[:6]), pool.ids[6:]
    settings = cpsp_settings(
        **FEW, min_precision={'Car': least, 'Pedestrian': least, 'Cyclist': 0}, checked_from=from_count
    )
    seen = labelled_boxes_seen_as(pool, pool.ids[:6], 'Car', wrong=4)
    number = sum(name == 'Car' for i in pool.ids[:6] for _, name in pool.objects[i])
    built = refresh(
        pool.load_points, CLASSES, settings, predictions=pool.predict(0, ids=ids), labelled=labelled,
        labelled_predictions=seen,
    )  # fmt: skip
    usual = refresh(
        pool.load_points, CLASSES, cpsp_settings(**FEW), predictions=pool.predict(0, ids=ids), labelled=labelled
    )
    assert built.meta['checked']['Car'] == {'right': number - 4, 'total': number}
    assert 0.5 < (number - 4) / number < 0.9
    assert built.meta['checked']['Pedestrian'] == {'right': 0, 'total': 0}
    confident = built.objects[built.objects['source'] == CONFIDENT]
    expected = usual.objects[usual.objects['source'] == CONFIDENT]
    kept = np.ones(len(expected), bool) if trusted else expected['label'] != CLASSES.index('Car')
    assert kept.sum() > 0
    assert kept.all() == trusted
    assert confident['box'].tolist() == expected['box'][kept].tolist()
    assert (built.tau['Car'] == usual.tau['Car']) == trusted
    assert built.tau['Pedestrian'] == usual.tau['Pedestrian']
    note = f'of {number} confident boxes on labelled frames {number - 4} are right'
    assert (note in describe(built)) != trusted
    again = refresh(
        pool.load_points, CLASSES, settings, predictions=pool.predict(1, ids=ids), labelled=labelled,
        labelled_predictions=seen, previous=usual,
    )  # fmt: skip
    cars = (again.objects['source'] == CONFIDENT) & (again.objects['label'] == CLASSES.index('Car'))
    assert cars.any() == trusted  # those of the generation before went, too
    assert (again.objects['source'][~cars] == CONFIDENT).any()


def test_paste_database_of_the_labelled_frames():
    pool = RandomPool(5)
    generation = refresh(pool.load_points, CLASSES, cpsp_settings(), labelled=annotate(pool, pool.ids))
    assert (generation.objects['source'] == GROUND_TRUTH).all()
    assert generation.meta['objects']['Cyclist']['ground_truth'] == 0  # called Van there
    trained = sum(name != 'Cyclist' for i in pool.ids for _, name in pool.objects[i])
    assert len(generation.objects) == trained
    assert generation.tau == dict.fromkeys(CLASSES, np.inf)
    assert generation.meta['tau'] == dict.fromkeys(CLASSES)


def test_untrained_model_without_predictions():
    pool, settings = RandomPool(4), cpsp_settings(**FEW)
    nothing = predictions_of({i: [] for i in pool.ids})
    empty = refresh(pool.load_points, CLASSES, settings, predictions=nothing)
    assert (len(empty.objects), len(empty.points), len(empty.preds)) == (0, 0, 0)
    assert all(empty.keep_mask(i, len(pool.load_points(i))).all() for i in pool.ids)
    still = refresh(pool.load_points, CLASSES, settings, predictions=nothing, previous=empty)
    filled = refresh(pool.load_points, CLASSES, settings, predictions=pool.predict(0), previous=still)
    assert (filled.objects['source'] == FALSE_POSITIVE).any()
    assert not (filled.objects['source'] == CONFIDENT).any()  # nothing was repeated, so nothing is confident
    again = refresh(pool.load_points, CLASSES, settings, predictions=pool.predict(0), previous=filled)
    assert (again.objects['source'] == CONFIDENT).any()
    lost = refresh(pool.load_points, CLASSES, settings, predictions=nothing, previous=again)
    assert len(lost.objects) == 0
    assert lost.tau == again.tau


def test_uid_stays_with_the_object():
    pool, settings = RandomPool(10), cpsp_settings(**FEW, del_after=2)
    first = refresh(pool.load_points, CLASSES, settings, predictions=pool.predict(0))
    second = refresh(pool.load_points, CLASSES, settings, predictions=pool.predict(1), previous=first)
    old = second.objects[(second.objects['born'] == 0) & (second.objects['source'] == CONFIDENT)]
    by_uid = {int(entry['uid']): entry for entry in first.objects}
    assert len(old) > 3
    for entry in old:
        assert by_uid[int(entry['uid'])]['box'].tolist() == entry['box'].tolist()


class TestMistakes:
    def run(self, pool, predictions, **arguments):
        load_points = arguments.pop('load_points', pool.load_points)
        return refresh(load_points, arguments.pop('classes', CLASSES), cpsp_settings(**FEW), predictions=predictions,
                       **arguments)  # fmt: skip

    def test_labelled_and_predicted(self):
        pool = RandomPool(3)
        with pytest.raises(UserError, match='frame 0001 is labelled and among the predictions'):
            self.run(pool, pool.predict(0), labelled=annotate(pool, ['0001']))

    def test_no_frame(self):
        with pytest.raises(UserError, match='at least one labelled or unlabelled frame'):
            self.run(RandomPool(1), None)

    def test_unknown_class(self):
        pool = RandomPool(2)
        with pytest.raises(UserError, match="unknown class 'Cyclist'"):
            self.run(pool, pool.predict(0), classes=('Car', 'Pedestrian'))

    @pytest.mark.parametrize(
        ('column', 'value'), [('scores', np.nan), ('scores', 1.5), ('boxes', np.inf), ('labels', 3)]
    )
    def test_values_out_of_range(self, column, value):
        pool = RandomPool(3)
        predictions = pool.predict(0)
        values = getattr(predictions, column).copy()
        values[predictions.offsets[1]] = value
        with pytest.raises(UserError, match='frame 0001 has'):
            self.run(pool, replace(predictions, **{column: values}))

    def test_frames_out_of_order(self):
        pool = RandomPool(3)
        predictions = pool.predict(0)
        with pytest.raises(UserError, match='frame 0000 follows 0001, expected ascending unique ids'):
            self.run(pool, replace(predictions, frame_ids=np.array(['0001', '0000', '0002'])))

    def test_other_frames_than_before(self):
        pool = RandomPool(4)
        previous = self.run(pool, pool.predict(0, ids=pool.ids[:3]))
        with pytest.raises(UserError, match='frame 0002 is only in the bank'):
            self.run(pool, pool.predict(1, ids=pool.ids[:2]), previous=previous)
        with pytest.raises(UserError, match='frame 0003 is not in the bank'):
            self.run(pool, pool.predict(1), previous=previous)

    def test_other_classes_than_before(self):
        pool = RandomPool(2)
        previous = self.run(pool, pool.predict(0))
        with pytest.raises(
            UserError, match='found classes Car, Pedestrian, Cyclist, expected Cyclist, Car, Pedestrian'
        ):
            self.run(pool, pool.predict(1), previous=previous, classes=('Cyclist', 'Car', 'Pedestrian'))

    def test_other_clouds_than_before(self):
        pool = RandomPool(2)
        previous = self.run(pool, pool.predict(0))
        pool.clouds['0001'] = pool.clouds['0001'][::-1].copy()  # as many points in another order
        with pytest.raises(UserError, match=r'frame 0001: its \d+ points are not those of generation 0'):
            self.run(pool, pool.predict(1), previous=previous)

    def test_unequal_columns(self):
        pool = RandomPool(2)
        pool.clouds['0001'] = pool.clouds['0001'][:, :3].copy()
        with pytest.raises(UserError, match='frame 0001: load_points returned 3 columns, expected 4 as in frame 0000'):
            self.run(pool, pool.predict(0))


def test_real_frames_end_to_end(kitti_mini, tmp_path):
    """Three rounds on real scans, the labels as scripted predictions: invariants, bank on disk, a pasted scene."""
    root, rng = kitti_mini / 'training', np.random.default_rng(0)
    ids = ['000000', '000003', '000007', '000009', '000010', '000011', '000310', '000339']
    clouds, boxes, names = {}, {}, {}
    for i in ids:
        calibration = read_calibration(root / 'calib' / f'{i}.txt')
        scan = np.fromfile(root / 'velodyne' / f'{i}.bin', np.float32).reshape(-1, 4)
        clouds[i] = scan[in_camera_view(scan, calibration, camera_image_size(calibration))]
        objects = read_objects(root / 'label_2' / f'{i}.txt')
        objects = objects[objects.names != 'DontCare']
        boxes[i], names[i] = camera_boxes_to_lidar(objects, calibration), objects.names
    labelled = LabelledObjects.from_frames([(i, boxes[i], names[i]) for i in ids[:3]])
    settings, bank, previous = cpsp_settings(k_first=4, k_next=4), BoxBank(tmp_path), None
    for _ in range(3):
        frames = {}
        for i in ids[3:]:
            trained = np.isin(names[i], CLASSES)
            shaken = boxes[i][trained] + rng.normal(0, 0.05, (trained.sum(), 7))
            entries = zip(shaken, rng.uniform(0.3, 1, len(shaken)), names[i][trained])
            strays = [(box(*rng.uniform((8, -8), (30, 8))), rng.uniform(0.1, 0.25), 'Car') for _ in range(6)]
            frames[i] = [*entries, *strays]
        predictions = predictions_of(frames)
        bank.publish(refresh(clouds.__getitem__, CLASSES, settings, predictions=predictions, labelled=labelled,
                             previous=previous))  # fmt: skip
        previous = bank.open()
        check_invariants(previous, clouds.__getitem__, predictions, labelled, settings)
    assert (previous.objects['source'] == CONFIDENT).sum() >= 3
    assert (previous.objects['source'] == GROUND_TRUTH).sum() >= 2
    background = previous.background('000010', clouds['000010'])
    scene = paste_objects(
        Scene(background),
        previous,
        PasteSettings(dict.fromkeys(CLASSES, 5)),
        np.random.default_rng((0, 0, 0)),
        (0, 0, 1, 1.73),
    )
    assert len(scene.boxes) >= 3
    assert np.allclose(scene.boxes[:, 2] - scene.boxes[:, 5] / 2, -1.73, atol=1e-5)
    assert (points_per_box(scene.points, scene.boxes + SLACK) >= 5).all()
