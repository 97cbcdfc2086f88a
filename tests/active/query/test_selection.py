import re

import numpy as np
import pytest

from ssal3d.active import CALSampler, Candidate, CoreSetSampler, QuerySettings, RandomSampler, pool_of_ids, select
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.predictions.synthetic import synthetic_pool
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
    query = select(CALSampler(), POOL, labels, QuerySettings(9))
    assert query.frame_ids == ('b',)
    assert query.round == 2
    assert query.warnings[0] == '2 frames of the predictions are labelled already; they were skipped'
    assert select(CALSampler(), POOL, LABELS, QuerySettings(9)).round == 0
    assert select(CALSampler(), POOL, LABELS, QuerySettings(9), round_number=7).round == 7
    everything = labels.buy(2, [('b', {})])
    assert select(CALSampler(), POOL, everything, QuerySettings(1)).stopped == 'pool_exhausted'


def test_predictions_of_another_pool_are_reported():
    other = LabelState.empty(CLASSES, 'other', ['a', 'b', 'c', 'd'])
    assert 'cover 3 frames, other than the 4' in select(CALSampler(), POOL, other, QuerySettings(1)).warnings[0]
    part = POOL.take([0, 2])
    settings = QuerySettings(1, cost_score=0)
    assert select(CALSampler(), part, LABELS.buy(0, [('b', {})]), settings).warnings == ()


def test_reference_is_matched_by_frame_and_class_name():
    boxes = {'b': [box('Cyclist', 0.95, box=at(0))], 'a': [], 'c': [], 'z': []}
    reference = make_pool(boxes, ('Cyclist', 'Vehicle', 'Pedestrian'))
    query = select(CALSampler(), POOL, LABELS, QuerySettings(1), reference=reference)
    assert query.frames[0].frame_id == 'b'
    assert query.frames[0].predicted_boxes == {'Car': 0, 'Pedestrian': 0, 'Cyclist': 1}  # the car was replaced
    with pytest.raises(UserError, match=r'frame b is missing \(1 frames are\)'):
        select(CALSampler(), POOL, LABELS, QuerySettings(1), reference=make_pool({'a': [], 'c': []}))
    with pytest.raises(UserError, match="unknown class in test pool 'Truck'"):
        select(CALSampler(), POOL, LABELS, QuerySettings(1), reference=make_pool(NOTHING, ('Car', 'Truck')))


def test_different_thresholds_of_the_two_models_are_reported():
    reference = make_pool(NOTHING, nms_iou=0.1, score_threshold=0.1)
    pool = make_pool(FRAMES, nms_iou=0.7, score_threshold=0.1)
    warnings = select(CALSampler(), pool, LABELS, QuerySettings(1), reference=reference).warnings
    assert 'nms_iou 0.7, the reference predictions with 0.1' in warnings[0]
    assert len([warning for warning in warnings if 'predictions were made' in warning]) == 1


def test_what_a_sampler_does_not_use_is_said():
    settings = QuerySettings(1, cost_score=0)
    warnings = select(RandomSampler(), POOL, LABELS, settings, reference=POOL, labelled=POOL).warnings
    assert [warning.split(';')[0] for warning in warnings] == [
        'RandomSampler does not use reference predictions',
        'RandomSampler does not use labelled predictions',
    ]


def test_dontcare_rule_without_regions_is_off_and_said():
    query = select(CALSampler(), POOL, LABELS, QuerySettings(9, dontcare='paper'))
    assert query.warnings[0] == "dontcare='paper' is off because no DontCare regions were given"
    assert len(query.frames) == 3
    ignored = select(CALSampler(), POOL, LABELS, QuerySettings(9), dontcare_regions={})
    assert ignored.warnings[0] == "DontCare regions were ignored because the query has dontcare='none'"


def test_dontcare_applies_to_every_sampler():
    regions = {'a': [[0, 0, 1, 1]], 'c': [[0, 0, 1, 1]]}
    for sampler in (CALSampler(), RandomSampler()):
        query = select(sampler, POOL, LABELS, QuerySettings(9, dontcare='frame'), dontcare_regions=regions)
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
        select(CALSampler(caps='none'), POOL.take([1]), LABELS, QuerySettings(9), annotate=Oracle({'b': counts}))


def test_annotations_of_other_frames_are_never_looked_at():
    counts = {'a': {'Car': 5}, 'b': 'garbage', 'c': None}
    oracle = Oracle(counts)
    query = select(CALSampler(), POOL, LABELS, QuerySettings(5), annotate=oracle)
    assert query.frame_ids == tuple(oracle.asked) == ('a',)
    assert query.frames[0].annotated_boxes == {'Car': 5, 'Pedestrian': 0, 'Cyclist': 0}


@pytest.mark.parametrize(
    ('name', 'value'), [('budget', -1), ('budget', 1.5), ('budget', None), ('empty_cost', -1), ('cost_score', 2)]
)
def test_wrong_numbers_are_named(name, value):
    with pytest.raises(UserError, match=f'{name}: found {value}'):
        QuerySettings(**{'budget': 1, name: value})
    with pytest.raises(UserError, match='seed: found None'):
        select(CALSampler(), POOL, LABELS, QuerySettings(1), seed=None)


def test_unknown_stop_rule_and_unsorted_frames_are_named():
    with pytest.raises(UserError, match="did you mean 'include_crossing'"):
        select(CALSampler(), POOL, LABELS, QuerySettings(1, stop_rule='include_crosing'))
    backwards = make_pool(FRAMES)
    backwards.frame_ids[:] = backwards.frame_ids[::-1].copy()
    with pytest.raises(UserError, match='not ascending by id'):
        select(CALSampler(), backwards, LABELS, QuerySettings(1))


@pytest.mark.parametrize(
    ('labelled', 'spelling'), [('a7', 'a007'), ('7', '000007'), ('000007.bin', '000007'), ('SEQ/07', 'seq/7')]
)
def test_a_labelled_frame_under_another_spelling_is_refused(labelled, spelling):
    """It would be bought a second time."""
    pool = make_pool({spelling: FRAMES['a'], 'b': FRAMES['b']})
    labels = unlabelled(pool).buy(0, [(labelled, {'Car': 1})])
    with pytest.raises(UserError, match=f"test pool: frame '{spelling}' is labelled already as '{labelled}'"):
        select(RandomSampler(), pool, labels, QuerySettings(1))
    both = make_pool({spelling: FRAMES['a'], labelled: FRAMES['b']})  # other frames, if the pool itself has both
    assert select(RandomSampler(), both, unlabelled(both).buy(0, [(labelled, {})]), QuerySettings(9)).frames


class Broken(RandomSampler):
    """Offers what a test wants."""

    def __init__(self, frames):
        self.frames = frames

    def order(self, pool, context):
        yield from map(Candidate, self.frames)


@pytest.mark.parametrize(
    ('frames', 'message'),
    [([2, 0, 2], 'Broken offers frame c twice'), ([3], 'offers frame 3 of a pool of 3'), ([-1], 'offers frame -1')],
)
def test_a_sampler_that_offers_a_frame_twice_or_none_of_the_pool_is_refused(frames, message):
    with pytest.raises(UserError, match=message):
        select(Broken(frames), POOL, LABELS, QuerySettings(99))


def test_budgets_in_frames_and_in_frames_and_boxes():
    for annotate in (None, Oracle({'a': {'Car': 3}, 'b': {}, 'c': {'Car': 1}})):
        query = select(CALSampler(), POOL, LABELS, QuerySettings(2, unit='frames'), annotate=annotate)
        assert (len(query.frames), query.spent, query.stopped) == (2, 2, 'budget')
    assert query.spent_per_class == {'Car': 3, 'Pedestrian': 0, 'Cyclist': 0}
    oracle = Oracle({'a': {'Car': 3}, 'b': {}, 'c': {'Car': 1}})
    settings = QuerySettings(7.5, unit={'frame': 2.5, 'box': 0.5})
    query = select(CALSampler(), POOL, LABELS, settings, annotate=oracle)
    assert query.frame_ids == ('a', 'b', 'c')
    assert query.spent == 4 + 2.5 + 3
    short = select(CALSampler(), POOL, LABELS, QuerySettings(20, unit={'frame': 2.5, 'box': 0.5}), annotate=oracle)
    assert (short.stopped, short.shortfall) == ('pool_exhausted', 10.5)
    assert '9.5 of 20 units spent' in short.warnings[-1]


def test_without_predictions_a_budget_in_frames_needs_no_annotations():
    ids = pool_of_ids(['z', 'y', 'x'], CLASSES)
    query = select(RandomSampler(), ids, LABELS, QuerySettings(2, unit='frames'))
    assert len(query.frames) == 2
    assert query.counted_above == {}
    with pytest.raises(UserError, match=r"cost of a frame in boxes is unknown; set query\.unit='frames'"):
        select(RandomSampler(), ids, LABELS, QuerySettings(2))


def phantoms(frames, boxes=60):
    """A young detector: one confident car and many doubtful boxes in every frame."""
    low = [box('Pedestrian', 0.15, feature=[0, 1.0]) for _ in range(boxes)]
    return make_pool({f'{k:03d}': [box('Car', 0.6 + k / 1000, feature=[1.0, k]), *low] for k in range(frames)})


def test_phantoms_do_not_eat_a_budget_of_predicted_boxes():
    pool = phantoms(40)
    labels = unlabelled(pool)
    query = select(RandomSampler(), pool, labels, QuerySettings(20))
    assert (len(query.frames), query.spent) == (20, 20)
    assert query.counted_above == dict.fromkeys(CLASSES, 0.3)
    assert 'predicted boxes count above a score of 0.3' in query.warnings[0]
    everything = select(RandomSampler(), pool, labels, QuerySettings(20, cost_score=0))
    assert (len(everything.frames), everything.spent) == (1, 61)
    by_class = QuerySettings(20, cost_score={'Car': 0.9, 'Pedestrian': 0.1, 'Cyclist': 0.1})
    assert len(select(RandomSampler(), pool, labels, by_class).frames) == 1
    free = select(RandomSampler(), pool, labels, QuerySettings(20, cost_score=0.9))
    assert '40 of 40 frames count no predicted box and were free' in free.warnings[0]


def test_labelled_frames_tell_which_predicted_boxes_count():
    """Of their own pool's predictions or of a folder of their own; fewer than ten boxes of a class tell nothing."""
    pool = phantoms(40)
    counts = {'Car': 1, 'Pedestrian': 30}
    labels = unlabelled(pool).buy(0, [(f'{k:03d}', counts) for k in range(12)])
    query = select(RandomSampler(), pool, labels, QuerySettings(100))
    assert query.counted_above['Car'] == 0  # one is predicted and one annotated in every frame
    assert query.counted_above['Pedestrian'] == pytest.approx(0.15)  # no score tells them apart
    assert query.counted_above['Cyclist'] == pytest.approx(0.15)  # of all classes together
    rest = pool.take(np.arange(12, 40))
    given = select(RandomSampler(), rest, labels, QuerySettings(100), labelled=pool.take(np.arange(12)))
    assert given.counted_above == query.counted_above
    assert given.frame_ids == query.frame_ids
    assert not any('does not use labelled' in warning for warning in given.warnings)


def seen_by_one(frames=120):
    """Every frame holds two cars that both models see, and two phantoms of the query model, one of them a sure one."""
    scores = [0.52 + 7 * k % 10 / 50 for k in range(frames)]
    cars = [[box('Car', score, box=at(20 * n), feature=[1.0, 0]) for n in range(2)] for score in scores]
    phantoms = [box('Car', score, box=at(40 + 100 * score), feature=[0, 1.0]) for score in (0.2, 0.9)]
    names = [f'{k:03d}' for k in range(frames)]
    return make_pool({n: [*own, *phantoms] for n, own in zip(names, cars)}), make_pool(dict(zip(names, cars)))


LACKS = 'test pool: lacks {} of the 20 labelled frames .* give all of them with --labelled-reference-predictions'


def judged_with(labelled_reference):
    """Ask for boxes beside 20 labelled frames, of which the second model predicted those of ``labelled_reference``."""
    pool, reference = seen_by_one()
    known, rest = np.arange(20), np.arange(20, 120)
    labels = unlabelled(pool).buy(0, [(f'{k:03d}', {'Car': 2}) for k in known.tolist()])
    return select(
        CALSampler(t_sim=float('inf'), caps='none'),
        pool.take(rest),
        labels,
        QuerySettings(40),
        reference=reference.take(rest),
        labelled=pool.take(known),
        labelled_reference=None if labelled_reference is None else reference.take(labelled_reference),
    )


def test_labelled_frames_that_the_second_model_lacks_tell_nothing():
    """Else the boxes of one model would tell above which score those of both count: 140 boxes would cost 40."""
    query = judged_with(None)
    assert query.counted_above == dict.fromkeys(CLASSES, 0.3)
    assert (len(query.frames), query.spent) == (20, 40)
    assert query.diagnostics['classes']['Car']['precision'] is None
    lacks, usual = query.warnings
    assert re.fullmatch(LACKS.format(20), lacks)
    assert 'count above a score of 0.3' in usual
    assert 'give --labelled-predictions and --labelled-reference-predictions, or' in usual


def test_labelled_frames_of_both_models_tell_also_where_others_lack():
    whole, part = judged_with(np.arange(20)), judged_with(np.arange(12))
    assert whole.warnings == ()
    assert [re.fullmatch(LACKS.format(8), warning) is not None for warning in part.warnings] == [True]
    for query, boxes in ((whole, 40), (part, 24)):
        assert query.counted_above['Car'] == 0  # as many as are annotated
        assert (len(query.frames), query.spent) == (20, 40)
        facts = query.diagnostics['classes']['Car']
        assert (facts['precision'], facts['labelled_boxes']) == (1.0, boxes)


def test_a_frame_that_needs_its_predictions_may_have_them_in_the_pool():
    """Samplers that compare with labelled frames take them from there."""
    fields = ('roi_features',)
    pool = synthetic_pool(6, fields=fields)
    labels = unlabelled(pool).buy(0, [('000002', {}), ('000004', {})])
    whole = select(CoreSetSampler(), pool, labels, QuerySettings(4, unit='frames'))
    apart = select(
        CoreSetSampler(),
        pool.take(np.array([0, 1, 3, 5])),
        labels,
        QuerySettings(4, unit='frames'),
        labelled=pool.take(np.array([2, 4])),
    )
    assert [(f.frame_id, f.utility) for f in whole.frames] == [(f.frame_id, f.utility) for f in apart.frames]
    with pytest.raises(UserError, match='give --labelled-predictions'):
        select(CoreSetSampler(), pool.take(np.array([0, 1, 3, 4, 5])), labels, QuerySettings(4))


def test_without_a_label_state_nothing_is_labelled(tmp_path):
    pool = synthetic_pool(10)
    empty = LabelState.empty(pool.classes, 'pool', pool.frame_ids.tolist())
    settings = QuerySettings(budget=3, unit='frames')
    assert (
        select(RandomSampler(), pool, None, settings).frame_ids
        == select(RandomSampler(), pool, empty, settings).frame_ids
    )


@pytest.mark.parametrize(
    ('counted', 'warned'),
    [
        (['Car'], 'Pedestrian, Cyclist'),
        (['Car', 'Pedestrian', 'Cyclist'], None),
        (['Vehicle', 'Pedestrian', 'Cyclist'], None),
    ],
)
def test_classes_that_the_label_state_does_not_count_are_told(counted, warned):
    pool = synthetic_pool(10)
    labels = LabelState.empty(counted, 'pool', pool.frame_ids.tolist())
    told = [
        text for text in select(RandomSampler(), pool, labels, QuerySettings(budget=3)).warnings if 'counts' in text
    ]
    assert told == (
        []
        if warned is None
        else [f'the label state counts Car, the predictions have {warned} as well, whose boxes are paid for']
    )
