import itertools

import numpy as np
import pytest

from ssal3d.cpsp.refine import DELETE, DUPLICATE, KEEP, REPLACE, UncertainBoxes, refine
from ssal3d.cpsp.settings import cpsp_settings
from ssal3d.ops.boxes import bev_iou
from tests.helpers.cpsp_builders import box

NAMES = {KEEP: 'keep', REPLACE: 'replace', DELETE: 'delete', DUPLICATE: 'duplicate'}


def detections(boxes, uncertainty, labels=None):
    labels = np.zeros(len(boxes), int) if labels is None else np.asarray(labels)
    return UncertainBoxes(np.array(boxes).reshape(-1, 7), labels, np.asarray(uncertainty, float))


def one_frame(bank, predictions, miss=None, confident=None, has_points=None, settings=None):
    miss = np.zeros(len(bank.boxes), np.uint8) if miss is None else np.array(miss, np.uint8)
    everything = np.ones(len(predictions.boxes), bool)
    confident = everything if confident is None else np.array(confident, bool)
    has_points = everything if has_points is None else np.array(has_points, bool)
    result = refine(bank, miss, predictions, confident, has_points, settings or cpsp_settings())
    return [NAMES[action] for action in result.action.tolist()], result


@pytest.mark.parametrize(
    ('shift', 'uncertainty', 'miss', 'expected', 'miss_after'),
    [
        (1.0, 0.1, 1, 'replace', 0),  # match, U(new) < U(bank)
        (1.0, 0.2, 1, 'keep', 0),  # match, equal: equation 1 keeps the bank object
        (1.0, 0.3, 1, 'keep', 0),  # match, greater: miss reset
        (1.5, 0.1, 0, 'keep', 1),  # no match (IoU 0.4545), miss + 1 < del_after
        (1.5, 0.1, 1, 'delete', 2),  # no match, miss + 1 = del_after
    ],
)
def test_truth_table(shift, uncertainty, miss, expected, miss_after):
    bank, predictions = detections([box(10, 0)], [0.2]), detections([box(10 + shift, 0)], [uncertainty])
    actions, result = one_frame(bank, predictions, [miss], settings=cpsp_settings(del_after=2))
    assert actions == [expected]
    assert result.miss.tolist() == [miss_after]
    assert result.partner.tolist() == [0 if shift == 1.0 else -1]
    assert result.free.tolist() == [shift == 1.5]


def test_an_overlap_equal_to_the_threshold_is_none():
    bank, predictions = detections([box(0, 0)], [0.2]), detections([box(2, 0)], [0.1])
    overlap = float(bev_iou(bank.boxes, predictions.boxes)[0, 0])
    for threshold, partner in ((overlap, -1), (np.nextafter(overlap, 0), 0)):
        _, result = one_frame(bank, predictions, settings=cpsp_settings(match_iou=float(threshold)))
        assert result.partner.tolist() == [partner]
        assert result.free.tolist() == [partner == -1]


def test_authors_take_the_new_one_on_a_tie():
    bank, predictions = detections([box(10, 0)], [0.2]), detections([box(10, 0)], [0.2])
    assert one_frame(bank, predictions, settings=cpsp_settings('released'))[0] == ['replace']


def test_prediction_without_points_replaces_nothing():
    bank, predictions = detections([box(10, 0)], [0.2]), detections([box(10, 0)], [0.1])
    assert one_frame(bank, predictions, has_points=[False])[0] == ['keep']


@pytest.mark.parametrize(('del_after', 'expected'), [(1, 'delete'), (2, 'keep')])
def test_frame_without_predictions_is_a_miss(del_after, expected):
    bank, nothing = detections([box(10, 0)], [0.2]), detections([], [])
    actions, result = one_frame(bank, nothing, settings=cpsp_settings(del_after=del_after))
    assert actions == [expected]
    assert result.miss.tolist() == [1]
    assert one_frame(bank, nothing, settings=cpsp_settings('released', del_after=2))[0] == ['delete']


def test_two_objects_on_one_prediction_leave_one_entry():
    bank = detections([box(10.6, 0), box(9.8, 0)], [0.3, 0.1])
    worse, better = detections([box(10, 0)], [0.2]), detections([box(10, 0)], [0.05])
    assert one_frame(bank, worse)[0] == ['duplicate', 'keep']
    assert one_frame(bank, better)[0] == ['duplicate', 'replace']
    both = one_frame(bank, better, settings=cpsp_settings('released'))
    assert both[0] == ['replace', 'replace']  # the duplicate of the released code
    assert both[1].partner.tolist() == [0, 0]


def test_equal_overlap_goes_to_the_more_certain_object_then_to_the_first():
    twice = [box(10, 0), box(10, 0)]
    predictions = detections([box(10, 0)], [0.01])
    assert one_frame(detections(twice, [0.3, 0.1]), predictions)[0] == ['duplicate', 'replace']
    assert one_frame(detections(twice, [0.1, 0.1]), predictions)[0] == ['replace', 'duplicate']


def test_class_is_ignored_unless_asked_for():
    bank = detections([box(10, 0)], [0.2], labels=[0])
    predictions = detections([box(10, 0)], [0.1], labels=[2])
    assert one_frame(bank, predictions)[0] == ['replace']
    actions, result = one_frame(bank, predictions, settings=cpsp_settings(match_same_class=True))
    assert actions == ['delete']
    assert result.free.tolist() == [True]
    actions, result = one_frame(bank, predictions, settings=cpsp_settings(match_same_class=True, del_after=2))
    assert actions == ['keep']
    assert result.free.tolist() == [False]  # no second entry in the same place


def test_only_confident_predictions_support_in_the_paper():
    bank, predictions = detections([box(10, 0)], [0.2]), detections([box(10, 0)], [0.88])
    assert one_frame(bank, predictions, confident=[False])[0] == ['keep']
    assert one_frame(bank, predictions, confident=[False], settings=cpsp_settings('paper'))[0] == ['delete']
    assert one_frame(bank, predictions, confident=[True], settings=cpsp_settings('paper'))[0] == ['keep']


def test_nothing_at_all():
    actions, result = one_frame(detections([], []), detections([box(1, 1)], [0.5]))
    assert actions == []
    assert result.free.tolist() == [True]
    actions, result = one_frame(detections([], []), detections([], []))
    assert (actions, result.free.tolist()) == ([], [])


def reference(bank, misses, predictions, confident, has_points, settings):
    """One frame, written from the table of the specification with plain lists."""
    ious = bev_iou(bank.boxes, predictions.boxes) if len(bank.boxes) and len(predictions.boxes) else None
    outcome = []
    claims = {}
    for b in range(len(bank.boxes)):
        allowed = [
            p
            for p in range(len(predictions.boxes))
            if ious[b, p] > settings.match_iou
            and (settings.support == 'all_predictions' or confident[p])
            and (not settings.match_same_class or bank.labels[b] == predictions.labels[p])
        ]
        best = max(allowed, key=lambda p: (ious[b, p], -p)) if allowed else -1
        outcome.append([best, None, None])
        if best >= 0:
            claims.setdefault(best, []).append(b)
    for b, entry in enumerate(outcome):
        best = entry[0]
        if best < 0:
            count = int(misses[b]) + 1
            alive = count < settings.del_after and (settings.keep_in_empty_frames or len(predictions.boxes) > 0)
            entry[1:] = ['keep' if alive else 'delete', count]
            continue
        winner = max(claims[best], key=lambda k: (ious[k, best], -bank.uncertainty[k], -k))
        if settings.one_per_prediction and winner != b:
            entry[1:] = ['duplicate', int(misses[b])]
            continue
        new, old = predictions.uncertainty[best], bank.uncertainty[b]
        wins = has_points[best] and (new < old or (settings.replace_on_tie and new == old))
        entry[1:] = ['replace' if wins else 'keep', 0]
    free = []
    for p in range(len(predictions.boxes)):
        near = [b for b in range(len(bank.boxes)) if ious[b, p] > settings.match_iou]
        met = [
            b
            for b in near
            if outcome[b][1] == 'keep'
            or (
                (settings.support == 'all_predictions' or confident[p])
                and (not settings.match_same_class or bank.labels[b] == predictions.labels[p])
            )
        ]
        free.append(not met)
    return outcome, free


OPTIONS = list(
    itertools.product(
        ['all_predictions', 'confident'], [False, True], [1, 2, 3], [False, True], [False, True], [False, True]
    )
)


@pytest.mark.parametrize('options', OPTIONS[::5], ids=str)
def test_against_the_reference_on_random_frames(options):
    names = ('support', 'match_same_class', 'del_after', 'replace_on_tie', 'one_per_prediction', 'keep_in_empty_frames')
    settings = cpsp_settings(**dict(zip(names, options)))
    rng = np.random.default_rng(OPTIONS.index(options))
    seen = set()
    for _ in range(80):
        tables = []
        for count in rng.integers(0, 7, 2):
            boxes = [box(*rng.integers(0, (9, 4)) / 2, yaw=rng.choice((0, 0.4))) for _ in range(count)]
            tables.append(detections(boxes, rng.integers(0, 6, count) / 8, rng.integers(0, 3, count)))
        bank, predictions = tables
        misses = rng.integers(0, 3, len(bank.boxes)).astype(np.uint8)
        confident, has_points = rng.random((2, len(predictions.boxes))) > 0.3
        result = refine(bank, misses, predictions, confident, has_points, settings)
        outcome, free = reference(bank, misses, predictions, confident, has_points, settings)
        assert [NAMES[action] for action in result.action.tolist()] == [entry[1] for entry in outcome]
        assert result.miss.tolist() == [entry[2] for entry in outcome]
        assert result.partner.tolist() == [entry[0] for entry in outcome]
        assert result.free.tolist() == free
        seen.update(entry[1] for entry in outcome)
    assert seen >= {'keep', 'replace', 'delete'}
    assert ('duplicate' in seen) == settings.one_per_prediction
