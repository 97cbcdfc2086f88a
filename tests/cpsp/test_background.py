import numpy as np
import pytest

from ssal3d.bank.annotations import ANNOTATION
from ssal3d.bank.generation import CONFIDENT, FALSE_POSITIVE, GROUND_TRUTH, OBJECT, PREDICTION
from ssal3d.cpsp.background import CHANGES, Rules, update_labelled, update_unlabelled
from ssal3d.cpsp.confidence import Checked
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.ops.boxes import points_in_boxes
from tests.helpers.cpsp_builders import CLASSES, box, points_in


def rules(tau=0.9, tau_low=0.2, number=3, **settings):
    unchecked = Checked(*np.zeros((2, 3), np.int64), np.zeros(3, bool))
    return Rules(cpsp_settings(**settings), np.full(3, tau), np.full(3, tau_low, np.float32), number, unchecked)


def predicted(*entries):
    rows = np.zeros(len(entries), PREDICTION)
    for row, (where, score, name) in zip(rows, entries):
        row['box'], row['score'], row['label'] = where, score, CLASSES.index(name)
    return rows


def in_bank(*entries, miss=0):
    rows = np.zeros(len(entries), OBJECT)
    for row, (where, score, name) in zip(rows, entries):
        row['box'], row['score'], row['label'] = where, score, CLASSES.index(name)
        row['source'], row['miss'], row['born'], row['seen'] = CONFIDENT, miss, 1, 2
    return rows


def annotated(*entries):
    rows = np.zeros(len(entries), ANNOTATION)
    for row, (where, label, usable) in zip(rows, entries):
        row['box'], row['label'], row['usable'] = where, label, usable
    return rows


def kept(update):
    return np.unpackbits(update.cut.mask, count=update.cut.num_points, bitorder='little').astype(bool)


def changes(update, kind):
    return update.changes[CHANGES.index(kind)].tolist()


NOTHING, NO_BANK = predicted(), in_bank()
PLACES = [box(10, 0), box(20, 0), box(30, 0), box(40, 0)]


@pytest.fixture
def cloud():
    """Ten points in each of four places, then five in the open."""
    rng = np.random.default_rng(0)
    free = np.column_stack((np.linspace(5, 45, 5), np.full(5, 20), np.zeros((5, 2)))).astype(np.float32)
    return np.concatenate((points_in(PLACES, 10, rng), free))


def points_kept_in(update, cloud):
    inside = points_in_boxes(cloud, np.array(PLACES))
    return [int(kept(update)[inside == place].sum()) for place in range(4)]


def test_first_build_sorts_predictions_by_score(cloud):
    preds = predicted(
        (PLACES[0], 0.95, 'Car'), (PLACES[1], 0.5, 'Car'), (PLACES[2], 0.15, 'Cyclist'), (PLACES[3], 0.9, 'Car')
    )
    update = update_unlabelled(cloud, preds, NO_BANK, rules(tau=float(np.float32(0.9))))
    assert update.cut.objects['source'].tolist() == [CONFIDENT, CONFIDENT, FALSE_POSITIVE]
    assert update.cut.objects['box'].tolist() == preds['box'][[0, 3, 2]].tolist()
    assert update.cut.objects['n_pts'].tolist() == [10, 10, 10]
    assert update.cut.objects['label'].tolist() == [0, 0, 2]
    assert points_kept_in(update, cloud) == [0, 0, 10, 0]
    assert kept(update)[40:].all()
    assert changes(update, 'added') == [2, 0, 0]
    assert update.cut.objects['born'].tolist() == [3, 3, 3]


def test_points_are_relative_to_the_centre_and_not_turned(cloud):
    turned = box(10, 0, yaw=1.0)
    update = update_unlabelled(cloud, predicted((turned, 0.95, 'Car')), NO_BANK, rules())
    inside = cloud[points_in_boxes(cloud, turned[None]) == 0]
    expected = inside - np.append(turned[:3], 0).astype(np.float32)
    assert update.cut.points.tolist() == expected.tolist()
    assert len(inside) == update.cut.objects['n_pts'][0]


@pytest.mark.parametrize(('score', 'cut'), [(0.2, False), (0.21, True)])
def test_low_threshold_is_exclusive(cloud, score, cut):
    """A score of 0.2, stored as float32, is not above a threshold of 0.2."""
    update = update_unlabelled(cloud, predicted((PLACES[0], score, 'Car')), NO_BANK, rules())
    assert points_kept_in(update, cloud)[0] == (0 if cut else 10)
    assert len(update.cut.objects) == (0 if cut else 1)


def test_box_without_points_is_no_object(cloud):
    preds = predicted((box(60, 30), 0.95, 'Car'), (box(60, -30), 0.1, 'Car'))
    update = update_unlabelled(cloud, preds, NO_BANK, rules(fp_min_points=1))
    assert len(update.cut.objects) == len(update.cut.points) == 0
    assert kept(update).all()


def test_bank_object_backed_by_a_low_score_leaves_the_background(cloud):
    """Its support does not reach tau_low, so only the bank itself says that something stands there."""
    bank, support = in_bank((PLACES[0], 0.95, 'Car')), predicted((PLACES[0], 0.15, 'Car'))
    update = update_unlabelled(cloud, support, bank, rules())
    assert (changes(update, 'kept'), update.cut.objects['score'].tolist()) == ([1, 0, 0], bank['score'].tolist())
    assert points_kept_in(update, cloud)[0] == 0
    assert points_kept_in(update_unlabelled(cloud, support, bank, rules(mask_bank_boxes=False)), cloud)[0] == 10


def test_unsupported_bank_object_leaves_the_background_while_it_lives(cloud):
    bank = in_bank((PLACES[0], 0.95, 'Car'))
    alive = update_unlabelled(cloud, NOTHING, bank, rules(del_after=2))
    assert (changes(alive, 'missed'), alive.cut.objects['miss'].tolist()) == ([1, 0, 0], [1])
    assert alive.cut.objects['seen'].tolist() == [2]
    assert points_kept_in(alive, cloud)[0] == 0
    deleted = update_unlabelled(cloud, NOTHING, bank, rules())
    assert (changes(deleted, 'deleted'), len(deleted.cut.objects)) == ([1, 0, 0], 0)
    assert points_kept_in(deleted, cloud)[0] == 10


def test_kept_replaced_added_in_this_order(cloud):
    shifted = box(10.2, 0)
    bank = in_bank((PLACES[0], 0.91, 'Car'), (PLACES[1], 0.97, 'Car'), (PLACES[2], 0.93, 'Car'))
    preds = predicted((PLACES[3], 0.92, 'Car'), (shifted, 0.95, 'Cyclist'), (PLACES[1], 0.96, 'Car'))
    update = update_unlabelled(cloud, preds, bank, rules())
    assert update.cut.objects['box'].tolist() == [
        list(np.float32(shifted)),
        list(np.float32(PLACES[1])),
        list(np.float32(PLACES[3])),
    ]
    assert update.cut.objects['label'].tolist() == [2, 0, 0]
    assert update.cut.objects['born'].tolist() == [3, 1, 3]
    assert update.cut.objects['seen'].tolist() == [3, 3, 3]
    counts = {kind: changes(update, kind)[0] for kind in CHANGES}
    assert counts == {
        'kept': 1, 'missed': 0, 'replaced': 1, 'class_changed': 1, 'deleted': 1, 'duplicate': 0, 'added': 1,
        'fp_checked': 0, 'fp_true': 0,
    }  # fmt: skip
    inside = [cloud[points_in_boxes(cloud, np.array(where)[None]) == 0] for where in (shifted, PLACES[1], PLACES[3])]
    assert update.cut.objects['n_pts'].tolist() == [len(points) for points in inside]
    centres = np.repeat(update.cut.objects['box'][:, :3], update.cut.objects['n_pts'], axis=0)
    assert np.allclose(update.cut.points[:, :3] + centres, np.concatenate(inside)[:, :3], atol=1e-5)


def test_false_positives_keep_away_from_the_bank(cloud):
    preds = predicted((PLACES[0], 0.95, 'Car'), (box(12.2, 0, 'Car'), 0.1, 'Pedestrian'))
    near = np.concatenate((cloud, points_in([box(13.5, 0, 'Pedestrian')], 8, np.random.default_rng(1))))
    assert update_unlabelled(near, preds, NO_BANK, rules()).cut.objects['source'].tolist() == [CONFIDENT]
    both = update_unlabelled(near, preds, NO_BANK, rules(fp_clear_of_bank=False)).cut.objects
    assert both['source'].tolist() == [CONFIDENT, FALSE_POSITIVE]


def test_false_positive_needs_points_and_a_place_of_its_own(cloud):
    low = predicted((PLACES[0], 0.1, 'Car'))
    assert len(update_unlabelled(cloud, low, NO_BANK, rules(fp_min_points=10)).cut.objects) == 1
    assert len(update_unlabelled(cloud, low, NO_BANK, rules(fp_min_points=11)).cut.objects) == 0
    assert len(update_unlabelled(cloud, low, NO_BANK, rules(fp_source='none')).cut.objects) == 0
    supporting = update_unlabelled(cloud, low, in_bank((PLACES[0], 0.95, 'Car')), rules(fp_clear_of_bank=False))
    assert supporting.cut.objects['source'].tolist() == [CONFIDENT]  # it supports a bank object


def test_score_up_to_tau_low_is_never_confident(cloud):
    """A class whose best score is 0.15 gets that as its threshold; the score is still a low one."""
    update = update_unlabelled(cloud, predicted((PLACES[0], 0.15, 'Car')), NO_BANK, rules(tau=0.1))
    assert update.cut.objects['source'].tolist() == [FALSE_POSITIVE]
    assert points_kept_in(update, cloud)[0] == 10


def test_nothing_confident_without_threshold(cloud):
    update = update_unlabelled(cloud, predicted((PLACES[0], 1.0, 'Car')), NO_BANK, rules(tau=np.inf))
    assert len(update.cut.objects) == 0
    assert points_kept_in(update, cloud)[0] == 0


def test_labelled_frame_loses_neighbour_classes_too(cloud):
    """Of a Car, a Van and a Car of unknown difficulty only the first is pasted; no point of any stays."""
    annotations = annotated((PLACES[0], 0, True), (PLACES[1], -1, True), (PLACES[2], 0, False), (box(60, 30), 0, True))
    update = update_labelled(cloud, annotations, NOTHING, rules())
    assert update.cut.objects['source'].tolist() == [GROUND_TRUTH]
    assert update.cut.objects['score'].tolist() == [1.0]
    assert update.cut.objects['unc'].tolist() == [0.0]
    assert points_kept_in(update, cloud) == [0, 0, 0, 10]


def test_false_positives_of_a_labelled_frame_touch_no_annotation(cloud):
    annotations = annotated((PLACES[0], 0, True), (PLACES[1], -1, True))
    preds = predicted(
        (box(12, 0), 0.5, 'Car'),
        (PLACES[1], 0.5, 'Car'),
        (PLACES[2], 0.5, 'Cyclist'),
        (PLACES[3], 0.15, 'Car'),
        (box(60, 30), 0.9, 'Car'),
    )
    update = update_labelled(cloud, annotations, preds, rules(fp_source='labelled'))
    assert update.cut.objects['source'].tolist() == [GROUND_TRUTH, FALSE_POSITIVE]  # 0.15 is not above fp_min_score
    assert update.cut.objects['label'].tolist() == [0, 2]
    assert points_kept_in(update, cloud) == [0, 0, 10, 10]
    assert (changes(update, 'fp_checked'), changes(update, 'fp_true')) == ([1, 0, 0], [1, 0, 0])
    released = update_labelled(cloud, annotations, preds, rules())
    assert released.cut.objects['source'].tolist() == [GROUND_TRUTH]


def test_share_of_true_false_positives(cloud):
    annotations = annotated((PLACES[0], 0, True))
    preds = predicted((PLACES[0], 0.1, 'Car'), (PLACES[1], 0.1, 'Car'), (PLACES[2], 0.2, 'Pedestrian'))
    update = update_labelled(cloud, annotations, preds, rules())
    assert (changes(update, 'fp_checked'), changes(update, 'fp_true')) == ([2, 1, 0], [1, 1, 0])


@pytest.mark.parametrize('channels', [3, 4, 6])
def test_any_number_of_channels(channels):
    points = points_in([PLACES[0]], 20, np.random.default_rng(0), channels)
    update = update_unlabelled(points, predicted((PLACES[0], 0.95, 'Car')), NO_BANK, rules())
    assert update.cut.points.shape == (20, channels)
    assert update.cut.points[:, 3:].tolist() == points[:, 3:].tolist()


def test_empty_cloud():
    empty = np.empty((0, 4), np.float32)
    update = update_unlabelled(empty, predicted((PLACES[0], 0.95, 'Car')), NO_BANK, rules())
    assert (len(update.cut.objects), len(update.cut.mask), update.cut.num_points) == (0, 0, 0)
    assert len(update_labelled(empty, annotated((PLACES[0], 0, True)), NOTHING, rules()).cut.objects) == 0


def test_points_that_are_not_finite_stay_in_the_background(cloud):
    cloud[3] = np.nan
    update = update_unlabelled(cloud, predicted((PLACES[0], 0.95, 'Car')), NO_BANK, rules())
    assert update.cut.objects['n_pts'].tolist() == [9]
    assert kept(update)[3]
