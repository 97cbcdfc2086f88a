from dataclasses import replace

import numpy as np
import pytest

from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.box_bank import BoxBank
from ssal3d.bank.generation import SOURCES, Generation
from ssal3d.bank.paste import PasteSettings, Scene, paste_objects
from ssal3d.cpsp.refresh import refresh
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.errors import UserError
from ssal3d.ops.boxes import bev_iou, points_in_boxes, points_per_box
from tests.helpers.cpsp_builders import CLASSES, box, points_in, predictions_of, small_generation

RNG = np.random.default_rng(0)
EMPTY = Scene(np.empty((0, 4), np.float32))


def generation_of(entries, points=30, settings=None):
    """One frame whose predictions `entries` are all confident (or false positives), each with `points` points."""
    cloud = points_in([entry[0] for entry in entries], points, np.random.default_rng(1))
    predictions = predictions_of({'0000': entries})
    return refresh(lambda _: cloud, CLASSES, settings or cpsp_settings(fp_clear_of_bank=False), predictions=predictions)


def paste(scene, generation, groups, seed=0, plane=None, **settings):
    return paste_objects(
        scene, generation, PasteSettings(groups, **settings), np.random.default_rng((0, 0, seed)), plane
    )


@pytest.fixture
def street():
    """Background of 100 points, ten of them where the car stands."""
    inside = points_in([box(10, 0)], 10, np.random.default_rng(2))
    outside = np.column_stack((np.linspace(30, 60, 90), np.full(90, 20), np.zeros((90, 2)))).astype(np.float32)
    return Scene(np.concatenate((outside, inside)))


def test_worked_example_object_in_a_background(street):
    """100 points of which 10 lie in the inserted box, an object with 30 points: 120 points, one label."""
    scene = paste(street, generation_of([(box(10, 0), 0.9, 'Car')]), {'Car': 15})
    assert len(scene.points) == 120
    assert scene.names.tolist() == ['Car']
    assert scene.boxes.tolist() == [np.float32(box(10, 0)).tolist()]
    assert points_per_box(scene.points, scene.boxes).tolist() == [30]
    assert scene.points[30:].tolist() == street.points[:90].tolist()


def test_worked_example_false_positive(street):
    """A false positive with 20 points in free space: 20 points more, no label."""
    generation = generation_of([(box(10, 0), 0.15, 'Pedestrian')], points=20)
    moved = Scene(street.points + np.float32([0, 5, 0, 0]))
    scene = paste(moved, generation, {'Pedestrian': 9}, false_positives={'Pedestrian': 3, 'Car': 3})
    assert len(scene.points) == 120
    assert len(scene.boxes) == len(scene.names) == len(scene.uids) == 0
    assert scene.false_positives.tolist() == generation.objects['uid'].tolist()


def test_nothing_is_pasted_into_a_known_object_that_is_no_label(street):
    generation = generation_of([(box(10, 0), 0.9, 'Car'), (box(30, 0), 0.9, 'Car'), (box(50, 0), 0.15, 'Car')])
    vans = np.array([box(31, 0.5), box(50, 1)], np.float32)
    settings = {'groups': {'Car': 15}, 'false_positives': {'Car': 3}}
    scene = paste(replace(street, obstacles=vans), generation, **settings)
    assert scene.boxes[:, 0].tolist() == [10]
    assert len(scene.names) == len(scene.uids) == 1
    assert len(scene.false_positives) == 0
    assert scene.obstacles.tolist() == vans.tolist()
    without = paste(street, generation, **settings)
    assert sorted(without.boxes[:, 0]) == [10, 30]
    assert len(without.false_positives) == 1


@pytest.mark.parametrize('plane', [(0, 0, 1, 1.7), (0, 0, -2, -3.4)])
def test_worked_example_flat_plane(plane):
    """On the plane z = -1.7 every pasted bottom face is at -1.7, and the points moved by the same height."""
    generation = generation_of([(box(10, 0), 0.9, 'Car'), (box(20, 0, 'Cyclist'), 0.9, 'Cyclist'),
                                (box(30, 0), 0.15, 'Car')])  # fmt: skip
    where = {'groups': {'Car': 5, 'Cyclist': 5}, 'false_positives': {'Car': 5}}
    flat = paste(EMPTY, generation, plane=plane, **where)
    free = paste(EMPTY, generation, **where)
    assert flat.uids.tolist() == free.uids.tolist()
    assert np.allclose(flat.boxes[:, 2] - flat.boxes[:, 5] / 2, -1.7, atol=1e-6)
    rise = np.append(flat.boxes[:, 2] - free.boxes[:, 2], -1.7 + 0.75 + 1.0)  # the false positive is a car at z -1
    assert np.allclose(flat.points[:, 2] - free.points[:, 2], np.repeat(rise, 30), atol=1e-5)
    assert flat.points[:, [0, 1, 3]].tolist() == free.points[:, [0, 1, 3]].tolist()


def test_sloping_plane():
    generation = generation_of([(box(10, 5), 0.9, 'Car'), (box(40, -8), 0.9, 'Car')])
    a, b, c, d = 0.05, -0.02, 0.998, 1.65
    scene = paste(EMPTY, generation, {'Car': 9}, plane=(a, b, c, d))
    bottoms = scene.boxes[:, :3] - np.array([0, 0, 0.75])
    assert np.allclose(bottoms @ [a, b, c] + d, 0, atol=1e-5)
    assert len(bottoms) == 2


@pytest.mark.parametrize('plane', [(0, 1, 0, 1.7), (0, 0, float('nan'), 1)])
def test_vertical_plane_is_refused(plane):
    with pytest.raises(UserError, match=r'found the road plane .*, expected \(a, b, c, d\) in the LiDAR frame'):
        paste(EMPTY, generation_of([(box(10, 5), 0.9, 'Car')]), {'Car': 9}, plane=plane)


def test_no_overlap_with_an_earlier_group():
    """The cyclist stands in the car, and both touch the van that a scene already has."""
    generation = generation_of([(box(10, 0), 0.9, 'Car'), (box(11, 0, 'Cyclist'), 0.9, 'Cyclist')])
    assert paste(EMPTY, generation, {'Car': 1, 'Cyclist': 1}).names.tolist() == ['Car']
    assert paste(EMPTY, generation, {'Cyclist': 1, 'Car': 1}).names.tolist() == ['Cyclist']
    occupied = Scene(EMPTY.points, np.float32([box(12, 1)]), np.array(['Van']))
    assert paste(occupied, generation, {'Car': 1, 'Cyclist': 1}) is occupied


@pytest.mark.parametrize(
    ('shift', 'in_group_iou', 'count'),
    [
        (2.2, 0.3, 2),  # IoU 1.8 / 6.2 = 0.29: both stay
        (2.1, 0.3, 0),  # IoU 1.9 / 6.1 = 0.31: both are refused
        (3.9, 0.0, 0),  # any overlap
        (4.1, 0.0, 2),
    ],
)
def test_pairs_inside_a_group(shift, in_group_iou, count):
    entries = [(box(10, 0), 0.9, 'Car'), (box(10 + shift, 0), 0.9, 'Car'), (box(40, 0), 0.9, 'Car')]
    generation = generation_of(entries)
    assert len(generation.objects) == 3
    scene = paste(EMPTY, generation, {'Car': 3}, in_group_iou=in_group_iou)
    assert len(scene.boxes) == count + 1


def test_class_without_objects_is_skipped():
    generation = generation_of([(box(10, 0), 0.9, 'Car')])
    scene = paste(EMPTY, generation, {'Pedestrian': 10, 'Car': 1}, false_positives={'Cyclist': 3})
    assert scene.names.tolist() == ['Car']
    assert paste(EMPTY, generation, {'Pedestrian': 10}) is EMPTY
    assert paste(EMPTY, generation, {'Car': 0}) is EMPTY


def test_objects_with_few_points_are_not_drawn():
    generation = generation_of([(box(10, 0), 0.9, 'Car'), (box(20, 0), 0.15, 'Car')], 4, cpsp_settings(fp_min_points=1))
    scene = paste(EMPTY, generation, {'Car': 5}, false_positives={'Car': 5})
    assert (len(scene.boxes), len(scene.false_positives)) == (0, 1)
    assert len(paste(EMPTY, generation, {'Car': 5}, min_points=4).boxes) == 1


def both_kinds(annotated, confident):
    """A generation of cars far from each other, the first of them annotated."""
    generation = small_generation(RNG, {'Car': annotated + confident})
    objects = generation.objects.copy()
    objects['source'][:annotated] = SOURCES.index('ground_truth')
    return Generation(
        objects, generation.points, generation.frames, generation.masks, generation.preds, generation.meta
    )


@pytest.mark.parametrize(
    ('kinds', 'wanted', 'share', 'expected'),
    [
        ((20, 30), 15, 0.5, (8, 7)),
        ((20, 30), 15, 0.0, (0, 15)),
        ((20, 30), 15, 1.0, (15, 0)),
        ((4, 30), 15, 0.5, (4, 11)),  # too few annotated ones: confident ones fill up
        ((20, 3), 15, 0.5, (12, 3)),  # and the other way round
        ((4, 3), 15, 0.5, (4, 3)),
        ((0, 9), 3, 0.5, (0, 3)),
        ((9, 0), 3, 0.0, (3, 0)),
    ],
)
def test_a_share_of_what_is_pasted_is_annotated(kinds, wanted, share, expected):
    generation = both_kinds(*kinds)
    annotated = set(generation.objects['uid'][: kinds[0]].tolist())
    drawn = set()
    for seed in range(20):
        scene = paste(EMPTY, generation, {'Car': wanted}, seed, annotated_share=share)
        uids = scene.uids.tolist()
        drawn |= set(uids)
        sure = len(annotated & set(uids))
        assert (sure, len(uids) - sure) == expected
        assert len(set(uids)) == len(uids)
    if share == 0.5 and sum(kinds) > 2 * wanted:
        assert len(drawn) > 1.5 * wanted  # each scene has its own


def test_a_share_does_not_bring_in_a_kind_that_is_not_wanted():
    scene = paste(EMPTY, both_kinds(3, 9), {'Car': 8}, annotated_share=0.5, sources=('confident',))
    assert len(scene.uids) == 8
    scene = paste(EMPTY, both_kinds(3, 9), {'Car': 8}, annotated_share=0.5, sources=('ground_truth',))
    assert len(scene.uids) == 3


def test_a_share_is_between_0_and_1():
    with pytest.raises(UserError, match=r'found annotated_share 1.5, expected a share in \[0, 1\]'):
        PasteSettings({'Car': 1}, annotated_share=1.5)


@pytest.mark.parametrize(('mode', 'expected'), [('add', [4, 3]), ('fill_up_to', [2, 3])])
def test_modes(mode, expected):
    """A labelled frame with two cars, groups of 4 cars and 3 cyclists."""
    generation = small_generation(RNG, {'Car': 9, 'Cyclist': 9})
    there = Scene(EMPTY.points, np.float32([box(-20, 0), box(-30, 0)]), np.array(['Car', 'Car']))
    scene = paste(there, generation, {'Car': 4, 'Cyclist': 3}, mode=mode)
    assert scene.names[:2].tolist() == ['Car', 'Car']
    assert scene.uids[:2].tolist() == [-1, -1]
    assert [int((scene.names[2:] == name).sum()) for name in ('Car', 'Cyclist')] == expected
    full = Scene(there.points, np.tile(there.boxes, (3, 1)), np.tile(there.names, 3))
    assert len(paste(full, generation, {'Car': 4}, mode='fill_up_to').boxes) == 6


def test_labelled_frames_get_ground_truth_only():
    cloud = points_in([box(10, 0), box(30, 0)], 30, RNG)
    labelled = LabelledObjects.from_frames([('0001', [box(10, 0)], ['Car'])])
    predictions = predictions_of({'0000': [(box(30, 0), 0.9, 'Car')]})
    generation = refresh(lambda _: cloud, CLASSES, cpsp_settings(), predictions=predictions, labelled=labelled)
    assert len(paste(EMPTY, generation, {'Car': 9}).boxes) == 2
    assert paste(EMPTY, generation, {'Car': 9}, sources=('ground_truth',)).boxes.tolist() == [
        np.float32(box(10, 0)).tolist()
    ]


def test_nothing_overlaps_in_random_scenes():
    """No pair of placed boxes from different groups overlaps; in a group the IoU stays below the limit."""
    rng = np.random.default_rng(5)
    places = {}
    for frame in range(30):
        entries = []
        for _ in range(12):
            name = str(rng.choice(CLASSES))
            entries.append(
                (box(*rng.uniform((0, -15), (40, 15)), name, rng.uniform(-3, 3)), rng.choice((0.15, 0.9)), name)
            )
        places[f'{frame:04d}'] = entries
    clouds = {i: points_in([entry[0] for entry in places[i]], 10, rng) for i in places}
    generation = refresh(clouds.__getitem__, CLASSES, cpsp_settings(), predictions=predictions_of(places))
    background = Scene(rng.uniform((0, -20, -2, 0), (50, 20, 1, 1), (3000, 4)).astype(np.float32))
    wanted = {'groups': {'Car': 15, 'Pedestrian': 10, 'Cyclist': 10}, 'false_positives': dict.fromkeys(CLASSES, 3)}
    by_uid = {int(entry['uid']): entry for entry in generation.objects}
    pasted, partial = 0, 0
    for seed in range(40):
        scene = paste(background, generation, seed=seed, plane=(0, 0, 1, 1.7), **wanted)
        false = [by_uid[int(uid)] for uid in scene.false_positives]
        boxes = np.concatenate((scene.boxes, np.float32([entry['box'] for entry in false]).reshape(-1, 7)))
        group = np.array([*scene.names, *(f'false {CLASSES[entry["label"]]}' for entry in false)])
        iou = bev_iou(boxes, boxes) - np.eye(len(boxes))
        different = group[:, None] != group
        assert iou[different].max() == 0
        assert iou[~different].max() < 0.3
        partial += int((iou > 1e-9).sum())
        assert len(scene.boxes) == len(scene.names) == len(scene.uids) == len(np.unique(scene.uids))
        for uid, placed, name in zip(scene.uids, scene.boxes, scene.names):
            entry = by_uid[int(uid)]
            assert placed[[0, 1, 3, 4, 5, 6]].tolist() == entry['box'][[0, 1, 3, 4, 5, 6]].tolist()
            assert name == CLASSES[entry['label']]
        counts = [int(by_uid[int(uid)]['n_pts']) for uid in (*scene.uids, *scene.false_positives)]
        start, lowered = sum(counts), boxes.copy()
        lowered[:, 2] = -1.7 + lowered[:, 5] / 2
        assert (points_in_boxes(scene.points[start:], lowered) == -1).all()
        assert len(scene.points) - start == (points_in_boxes(background.points, lowered) == -1).sum()
        owner = np.repeat(np.arange(len(boxes)), counts)
        slack = lowered + np.array([0, 0, 0, 1e-4, 1e-4, 1e-4, 0])
        for k in range(len(boxes)):
            assert (points_in_boxes(scene.points[:start][owner == k], slack[k : k + 1]) == 0).all()
        pasted += len(boxes)
    assert pasted > 40 * 15
    assert partial > 0


def test_same_generator_same_scene():
    generation = small_generation(RNG, {'Car': 30, 'Pedestrian': 9}, [('Car', 5)])
    background = Scene(RNG.uniform(-40, 40, (500, 4)).astype(np.float32))
    groups, false = {'Car': 7, 'Pedestrian': 3}, {'Car': 2}

    def draw(*key):
        scene = paste_objects(background, generation, PasteSettings(groups, false), np.random.default_rng(key))
        return [scene.points.tobytes(), scene.boxes.tobytes(), scene.names.tolist(), scene.uids.tolist(),
                scene.false_positives.tolist()]  # fmt: skip

    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert draw(0, 3, 5) == draw(0, 3, 5)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    keys = [(0, 3, 5), (0, 3, 6), (0, 4, 5), (1, 3, 5), (5, 3, 0)]
    assert len({tuple(draw(*key)[3]) for key in keys}) == len(keys)


def test_draw_is_uniform():
    """Every object of a class is drawn equally often."""
    generation = small_generation(RNG, {'Car': 20})
    counts = dict.fromkeys(generation.objects['uid'].tolist(), 0)
    for seed in range(1000):
        for uid in paste(EMPTY, generation, {'Car': 5}, seed=seed).uids.tolist():
            counts[uid] += 1
    assert sum(counts.values()) == 5000
    assert 190 < min(counts.values()) <= max(counts.values()) < 310  # 250 expected, 5 standard deviations


def test_memory_and_mapped_file_give_the_same_scene(tmp_path):
    generation = small_generation(RNG, {'Car': 20, 'Cyclist': 20})
    BoxBank(tmp_path).publish(generation)
    scenes = [paste(EMPTY, g, {'Car': 9, 'Cyclist': 9}) for g in (generation, BoxBank(tmp_path).open())]
    assert scenes[0].points.tobytes() == scenes[1].points.tobytes()
    assert scenes[0].uids.tolist() == scenes[1].uids.tolist()
    assert len(scenes[0].uids) == 18


@pytest.mark.parametrize('channels', [3, 5])
def test_any_number_of_columns(channels):
    generation = small_generation(RNG, {'Car': 2}, channels=channels)
    scene = paste(Scene(np.zeros((7, channels), np.float32)), generation, {'Car': 2})
    assert scene.points.shape == (67, channels)
    with pytest.raises(
        UserError, match=f'the scene has 9 columns per point, .* {channels}, of which PasteObjects takes'
    ):
        paste(Scene(np.zeros((7, 9), np.float32)), generation, {'Car': 2})


@pytest.mark.parametrize(('use_dim', 'columns'), [(5, [0, 1, 2, 3, 4]), ([0, 1, 2, 4], [0, 1, 2, 4])])
def test_a_scene_may_have_some_columns_of_the_file(use_dim, columns):
    generation = small_generation(RNG, {'Car': 2}, channels=6)
    background = RNG.random((7, 6), dtype=np.float32)
    full = paste(Scene(background), generation, {'Car': 2})
    some = paste(Scene(background[:, columns]), generation, {'Car': 2}, use_dim=use_dim)
    assert some.points.tobytes() == full.points[:, columns].tobytes()
    assert some.boxes.tobytes() == full.boxes.tobytes()
    with pytest.raises(
        UserError, match=r'the scene has 5 columns per point, .* have 6, .* use_dim of LoadPointsFromFile'
    ):
        paste(Scene(background[:, :5]), generation, {'Car': 2})


def test_pasting_twice_keeps_what_is_there():
    generation = small_generation(RNG, {'Car': 12})
    first = paste(EMPTY, generation, {'Car': 5}, seed=1)
    second = paste(first, generation, {'Car': 5}, seed=2)
    assert second.boxes[:5].tolist() == first.boxes.tolist()
    assert second.uids[:5].tolist() == first.uids.tolist()
    assert len(np.unique(second.uids)) == len(second.uids) > 5


def test_scene_is_not_changed(street):
    before = replace(street, points=street.points.copy())
    paste(street, generation_of([(box(10, 0), 0.9, 'Car')]), {'Car': 1}, plane=(0, 0, 1, 1))
    assert street.points.tobytes() == before.points.tobytes()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'groups': {'Van': 1}}, "unknown class 'Van'"),
        ({'groups': {'Car': 1}, 'mode': 'ad'}, "unknown paste mode 'ad'.*did you mean 'add'"),
        ({'groups': {'Car': 1}, 'sources': ('gt',)}, "unknown object source 'gt'"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        paste(EMPTY, generation_of([(box(10, 0), 0.9, 'Car')]), **settings)
