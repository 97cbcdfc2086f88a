import pytest

from ssal3d.active import CALSampler, RandomSampler, select
from ssal3d.active.detections import Detections
from ssal3d.active.query.selection import frames_estimate, labelled_counts
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from tests.helpers.active_pools import CLASSES, Oracle, at, box, make_pool, unlabelled

FRAMES = {
    'a': [box('Car', 0.5, box=at(0), feature=[1.0, 0])],
    'b': [box('Car', 0.6, box=at(0), feature=[0, 1.0]), box('Cyclist', 0.6, box=at(20), feature=[0, 1.0])],
    'c': [box('Pedestrian', 0.9, box=at(0), feature=[1.0, 1.0])],
}
NOTHING = {'a': [], 'b': [], 'c': []}
POOL = make_pool(FRAMES)
LABELS = unlabelled(POOL)


def test_labelled_frames_are_skipped_and_the_round_goes_on():
    labels = LABELS.buy(0, [('a', {'Car': 1})]).buy(1, [('c', {'Pedestrian': 2})])
    query = select(CALSampler(), POOL, labels, budget=9)
    assert query.frame_ids == ('b',)
    assert query.round == 2
    assert query.warnings[0] == '2 frames of the predictions are labelled already; they were skipped'
    assert select(CALSampler(), POOL, LABELS, budget=9).round == 0
    assert select(CALSampler(), POOL, LABELS, budget=9, round_number=7).round == 7
    everything = labels.buy(2, [('b', {})])
    assert select(CALSampler(), POOL, everything, budget=1).stopped == 'pool_exhausted'


def test_predictions_of_another_pool_are_reported():
    other = LabelState.empty(CLASSES, 'other', ['a', 'b', 'c', 'd'])
    assert 'cover 3 frames, other than the 4' in select(CALSampler(), POOL, other, budget=1).warnings[0]
    part = POOL.take([0, 2])
    assert select(CALSampler(), part, LABELS.buy(0, [('b', {})]), budget=1).warnings == ()


def test_reference_is_matched_by_frame_and_class_name():
    boxes = {'b': [box('Cyclist', 0.95, box=at(0))], 'a': [], 'c': [], 'z': []}
    reference = make_pool(boxes, ('Cyclist', 'Vehicle', 'Pedestrian'))
    query = select(CALSampler(), POOL, LABELS, budget=1, reference=reference)
    assert query.frames[0].frame_id == 'b'
    assert query.frames[0].predicted_boxes == {'Car': 0, 'Pedestrian': 0, 'Cyclist': 1}  # the car was replaced
    with pytest.raises(UserError, match=r'frame b is missing \(1 frames are\)'):
        select(CALSampler(), POOL, LABELS, budget=1, reference=make_pool({'a': [], 'c': []}))
    with pytest.raises(UserError, match="unknown class in test pool 'Truck'"):
        select(CALSampler(), POOL, LABELS, budget=1, reference=make_pool(NOTHING, ('Car', 'Truck')))


def test_different_thresholds_of_the_two_models_are_reported():
    reference = make_pool(NOTHING, nms_iou=0.1, score_threshold=0.1)
    pool = make_pool(FRAMES, nms_iou=0.7, score_threshold=0.1)
    warnings = select(CALSampler(), pool, LABELS, budget=1, reference=reference).warnings
    assert 'nms_iou 0.7, the reference predictions with 0.1' in warnings[0]
    assert len([warning for warning in warnings if 'predictions were made' in warning]) == 1


def test_what_a_sampler_does_not_use_is_said():
    warnings = select(RandomSampler(), POOL, LABELS, budget=1, reference=POOL, labelled=POOL).warnings
    assert [warning.split(';')[0] for warning in warnings] == [
        'RandomSampler does not use reference predictions',
        'RandomSampler does not use labelled predictions',
    ]


def test_dontcare_rule_without_regions_is_off_and_said():
    query = select(CALSampler(dontcare='paper'), POOL, LABELS, budget=9)
    assert query.warnings[0] == "dontcare='paper' is off because no DontCare regions were given"
    assert len(query.frames) == 3
    ignored = select(CALSampler(), POOL, LABELS, budget=9, dontcare={})
    assert ignored.warnings[0] == "DontCare regions were ignored because the sampler has dontcare='none'"


def test_dontcare_applies_to_every_sampler():
    regions = {'a': [[0, 0, 1, 1]], 'c': [[0, 0, 1, 1]]}
    for sampler in (CALSampler(dontcare='frame'), RandomSampler(dontcare='frame')):
        query = select(sampler, POOL, LABELS, budget=9, dontcare=regions)
        assert query.frame_ids == ('b',)
        assert query.stopped == 'pool_exhausted'


@pytest.mark.parametrize(
    ('counts', 'message'),
    [
        ({'Cra': 1}, "unknown class in the annotations of frame b 'Cra'.*did you mean 'Car'"),
        ({'Car': -1}, "frame b has -1 boxes of 'Car'"),
        ({'Car': 1.5}, 'frame b has 1.5 boxes'),
        ({'Car': True}, 'frame b has True boxes'),
    ],
)
def test_wrong_annotations_are_named(counts, message):
    with pytest.raises(UserError, match=message):
        select(CALSampler(caps='none'), POOL.take([1]), LABELS, budget=9, annotate=Oracle({'b': counts}))


def test_annotations_of_other_frames_are_never_looked_at():
    counts = {'a': {'Car': 5}, 'b': 'garbage', 'c': None}
    oracle = Oracle(counts)
    query = select(CALSampler(), POOL, LABELS, budget=5, annotate=oracle)
    assert query.frame_ids == tuple(oracle.asked) == ('a',)
    assert query.frames[0].annotated_boxes == {'Car': 5, 'Pedestrian': 0, 'Cyclist': 0}


@pytest.mark.parametrize(
    ('name', 'value'), [('budget', -1), ('budget', 1.5), ('budget', None), ('seed', None), ('empty_cost', -1)]
)
def test_wrong_numbers_are_named(name, value):
    with pytest.raises(UserError, match=f'{name}: found {value}'):
        select(CALSampler(), POOL, LABELS, **{'budget': 1, name: value})


def test_unknown_stop_rule_and_unsorted_frames_are_named():
    with pytest.raises(UserError, match="did you mean 'include_crossing'"):
        select(CALSampler(), POOL, LABELS, budget=1, stop_rule='include_crosing')
    backwards = make_pool(FRAMES)
    backwards.frame_ids[:] = backwards.frame_ids[::-1].copy()
    with pytest.raises(UserError, match='not ascending by id'):
        select(CALSampler(), backwards, LABELS, budget=1)


def test_labelled_counts_and_frames_estimate():
    labels = LabelState(('Cyclist', 'Vehicle', 'Pedestrian'), 'p', 3, '').buy(
        0, [('x', {'Vehicle': 5}), ('y', {'Cyclist': 2}), ('z', {})]
    )
    assert labelled_counts(labels, CLASSES).tolist() == [5, 0, 2]
    assert frames_estimate(10, labels, Detections.of(POOL)) == 5  # ceil(10 / (7 / 3))
    assert frames_estimate(10, LABELS, Detections.of(POOL)) == 8  # ceil(10 / (4 / 3)), from predictions
    assert frames_estimate(10, LABELS, Detections.of(make_pool({'a': [], 'b': []}))) == 2
    with pytest.raises(UserError, match="unknown class in the label state 'Cyclist'"):
        labelled_counts(labels, ('Car', 'Pedestrian'))
