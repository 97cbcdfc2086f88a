"""CAL against worked examples and against a slow copy written from its description."""

import json
import math
import random

import numpy as np
import pytest

from ssal3d.active import CALSampler, EntropySampler, QuerySettings, select
from ssal3d.active.functional import Limits
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from tests.helpers import slow_cal
from tests.helpers.active_pools import CLASSES, Oracle, at, box, make_pool, unlabelled

E = np.eye(6).tolist()
EXAMPLE = {
    'A': [box('Car', 0.5, feature=E[0]), box('Car', 0.5, feature=E[1])],
    'B': [box('Car', 0.6, feature=E[0]), box('Car', 0.6, feature=E[1])],
    'C': [box('Pedestrian', 0.8, feature=E[2])],
    'D': [box('Car', 0.7, feature=E[3]), box('Car', 0.7, feature=E[4])],
    'E': [box('Cyclist', 0.9, feature=E[5])],
}
ANNOTATED = {'A': {'Car': 3}, 'B': {'Car': 2}, 'C': {'Pedestrian': 1}, 'D': {'Car': 2}, 'E': {'Cyclist': 1}}
EQUAL = {'Car': 1, 'Pedestrian': 1, 'Cyclist': 1}


def run_example(frames=EXAMPLE, counts=ANNOTATED, budget=6, regions=None, dontcare='none', **options):
    pool = make_pool(frames, width=6)
    oracle = Oracle(counts)
    sampler = CALSampler(**{'caps': 'manual', 'class_weights': EQUAL, **options})
    settings = QuerySettings(budget, dontcare=dontcare)
    query = select(sampler, pool, unlabelled(pool), settings, annotate=oracle, dontcare_regions=regions)
    assert tuple(oracle.asked) == query.frame_ids
    return query


def test_worked_example():
    query = run_example()
    assert query.frame_ids == ('A', 'D', 'C')
    assert (query.spent, query.stopped) == (6, 'budget')
    assert [frame.utility for frame in query.frames] == pytest.approx([1, 0.88129, 0.72193], abs=5e-6)
    assert [frame.similarity for frame in query.frames] == [0, 0, 0]


def test_worked_example_with_d_excluded_ends_by_relaxation():
    query = run_example(regions={'D': [[0, 0, 5, 5]]}, dontcare='frame')
    assert query.frame_ids == ('A', 'C', 'E', 'B')
    assert [frame.relax_level > 0 for frame in query.frames] == [False, False, False, True]
    assert (query.spent, query.stopped) == (7, 'budget')
    assert any("dontcare='frame' excluded 1 of 5 frames" in warning for warning in query.warnings)


def test_without_relaxation_it_stops_instead():
    query = run_example(budget=100, relax=[])
    assert query.frame_ids == ('A', 'D', 'C', 'E')
    assert (query.stopped, query.shortfall) == ('pool_exhausted', 93)
    assert run_example(budget=100).frame_ids == ('A', 'D', 'C', 'E', 'B')


@pytest.mark.parametrize(('cosine', 'bought'), [(1, False), (0.9, False), (0.8999, True)])
def test_a_similarity_equal_to_the_threshold_is_rejected(cosine, bought):
    feature = [7 * cosine, 7 * math.sqrt(1 - cosine**2), 0, 0, 0, 0]
    frames = {'a': [box('Car', 0.5, feature=E[0])], 'b': [box('Car', 0.6, feature=feature)], 'c': EXAMPLE['C']}
    pool = make_pool(frames, width=6)
    query = select(CALSampler(caps='none', relax=[]), pool, unlabelled(pool), QuerySettings(9))
    assert query.frame_ids == (('a', 'b', 'c') if bought else ('a', 'c'))


def test_weight_one_for_full_classes_disables_class_balance():
    frames = {**EXAMPLE, 'F': [box('Car', 0.75, feature=[0.0] * 6), box('Pedestrian', 0.75, feature=[0.0] * 6)]}
    counts = {**ANNOTATED, 'F': {'Car': 1}}
    assert run_example(frames, counts, w_full=0.1).frame_ids == ('A', 'D', 'C')  # after D, cars count a tenth
    assert run_example(frames, counts, w_full=1).frame_ids == ('A', 'D', 'F')


def test_without_limits_it_is_the_mean_entropy_ranking():
    rng = random.Random(0)
    frames = {
        f'{k:02d}': [box(rng.choice(CLASSES), rng.random(), feature=E[0]) for _ in range(rng.randint(1, 5))]
        for k in range(40)
    }
    pool = make_pool(frames, width=6)
    sampler = CALSampler(caps='none', t_sim=float('inf'), s_obj=0)
    query = select(sampler, pool, unlabelled(pool), QuerySettings(30))
    mean = {name: np.mean([slow_cal.entropy(entry['score']) for entry in boxes]) for name, boxes in frames.items()}
    expected = sorted(mean, key=lambda name: -mean[name])
    assert list(query.frame_ids) == expected[: len(query.frame_ids)]
    assert query.sampler['t_sim'] == 'inf'


def test_a_duplicate_of_a_selected_frame_waits_for_relaxation():
    rng = random.Random(1)
    frames = random_frames(rng, 20, CLASSES)
    frames = {name: boxes for name, boxes in frames.items() if any(any(entry['feature']) for entry in boxes)}
    frames.update({f'{name}-copy': boxes for name, boxes in frames.items()})
    pool = make_pool(frames, width=4)
    query = select(CALSampler(), pool, unlabelled(pool), QuerySettings(10**6))
    level = {frame.frame_id: (frame.relax_level, frame.similarity) for frame in query.frames}
    nonzero = [name for name in frames if not name.endswith('-copy') and all(any(e['feature']) for e in frames[name])]
    assert len(nonzero) > 5
    for name in nonzero:
        later = max(level[name], level[f'{name}-copy'])
        assert later[0] > 0
        assert later[1] == 1


def random_frames(rng, size, classes, places=6):
    """Frames with many ties: scores of two decimals, boxes on few places, small integer features, some of them zero."""
    frames = {}
    for number in range(size):
        count = rng.choice([0, 1, 1, 2, 2, 3, 4])
        frames[f'{number:03d}'] = [
            box(
                rng.choice(classes),
                rng.choice([0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, *(rng.randint(0, 100) / 100 for _ in range(4))]),
                box=at(10 * rng.randrange(places) + rng.choice([0, 0, 0.5, 1, 1.7, 2.5])),
                feature=[rng.choice([0, 0, 1, 2, rng.random()]) for _ in range(4)],
            )
            for _ in range(count)
        ]
    return frames


def random_case(seed):
    rng = random.Random(seed)
    classes = ('Car', 'Pedestrian', 'Cyclist', 'Van')[: rng.choice([1, 2, 3, 3, 4])]
    size = rng.randint(1, 25)
    frames = random_frames(rng, size, classes)
    reference = random_frames(rng, size, classes) if rng.random() < 0.7 else None
    if reference is not None and rng.random() < 0.5:  # models that agree on most boxes
        reference = {
            name: [{**entry, 'score': rng.randint(0, 100) / 100} for entry in boxes if rng.random() < 0.8]
            for name, boxes in frames.items()
        }
    annotated = {
        name: {label: max(0, sum(e['label'] == label for e in boxes) + rng.choice([-1, 0, 0, 1])) for label in classes}
        for name, boxes in frames.items()
    }
    return rng, classes, frames, reference, annotated


@pytest.mark.parametrize('seed', range(300))
def test_agrees_with_the_slow_copy(seed):
    rng, classes, frames, reference, annotated = random_case(seed)
    budget = rng.choice([1, 3, 8, 20, 1000])
    caps_kind = rng.choice(['manual', 'inverse_freq', 'none'])
    weights = {label: rng.choice([0.5, 1, 2]) for label in classes}
    weights = {label: weight * len(classes) / sum(weights.values()) for label, weight in weights.items()}
    manual = {label: round(weights[label] * budget / len(classes) + 1, 9) for label in classes}
    caps = {'manual': manual, 'none': dict.fromkeys(classes, math.inf)}
    caps['inverse_freq'] = dict.fromkeys(classes, max(budget / len(classes), 1))
    options = {
        't_sim': rng.choice([0.4, 0.8, 0.9, 0.95]),
        's_obj': rng.choice([0, 0.2, 0.3, 0.5]),
        'w_full': rng.choice([0.1, 0.5]),
        'div': rng.choice(['union', 'union', 'per_frame']),
    }
    excluded = frozenset(name for name in frames if rng.random() < 0.15)
    annotates = rng.random() < 0.6
    counts = rng.choice(['reliable', 'annotated']) if annotates else 'reliable'
    expected = slow_cal.select(
        frames,
        reference,
        annotated if annotates else None,
        budget,
        caps[caps_kind],
        excluded=excluded,
        counts=counts,
        **options,
    )
    pool = make_pool(frames, classes, width=4)
    oracle = Oracle(annotated)
    query = select(
        CALSampler(caps=caps_kind, class_weights=weights, counts=counts, **options),
        pool,
        unlabelled(pool),
        QuerySettings(budget, dontcare='frame'),
        reference=make_pool(reference, classes, width=4) if reference else None,
        annotate=oracle if annotates else None,
        dontcare_regions={name: [[0, 0, 1, 1]] for name in excluded},
    )
    assert list(query.frame_ids) == [entry['frame_id'] for entry in expected]
    for frame, entry in zip(query.frames, expected):
        utility = frame.utility if frame.utility is not None else -math.inf
        assert utility == pytest.approx(entry['utility'], abs=2e-6)  # scores are float32 here, float64 there
        assert frame.similarity == pytest.approx(entry['similarity'], abs=2e-6)
        assert frame.relax_level == entry['relax_level']
    assert query.spent >= budget or set(query.frame_ids) == set(frames) - excluded
    assert query.stopped == ('budget' if query.spent >= budget else 'pool_exhausted')
    if annotates:
        assert oracle.asked == list(query.frame_ids)


@pytest.mark.parametrize('seed', range(20))
def test_class_order_does_not_matter(seed):
    rng, classes, frames, reference, annotated = random_case(seed)
    options = {'caps': 'manual', 'class_weights': {name: 0.3 + k for k, name in enumerate(classes)}}
    results = []
    for order in (classes, tuple(rng.sample(classes, len(classes)))):
        pool = make_pool(frames, order, width=4)
        query = select(
            CALSampler(**options),
            pool,
            unlabelled(pool),
            QuerySettings(15),
            reference=make_pool(reference, classes, width=4) if reference else None,
            annotate=Oracle(annotated),
        )
        results.append(
            [(f.frame_id, f.utility, f.similarity, dict(sorted(f.predicted_boxes.items()))) for f in query.frames]
        )
    assert results[0] == results[1]


def test_predicted_cost_is_the_reliable_set():
    frames = {'a': [box('Car', 0.5, box=at(0), feature=E[0]), box('Cyclist', 0.6, box=at(20), feature=E[1])]}
    reference = {'a': [box('Car', 0.2, box=at(0))]}
    pool = make_pool(frames, width=6)
    query = select(CALSampler(), pool, unlabelled(pool), QuerySettings(1), reference=make_pool(reference, width=6))
    assert query.frames[0].predicted_boxes == {'Car': 1, 'Pedestrian': 0, 'Cyclist': 0}
    assert query.frames[0].annotated_boxes is None
    assert (query.spent, query.cost) == (1, 'predicted')
    assert query.spent_per_class == {'Car': 1, 'Pedestrian': 0, 'Cyclist': 0}


def test_softmax_entropy_is_equation_4_of_the_merged_boxes():
    frames = {
        'a': [box('Car', 0.5, box=at(0), feature=E[0], logits=[0, 0, 0])],
        'b': [box('Car', 0.5, box=at(0), feature=E[1], logits=[2, 0, 0])],
    }
    reference = {'a': [], 'b': [box('Car', 0.9, box=at(0), logits=[9, 0, 0])]}
    pool = make_pool(frames, width=6)
    sampler = CALSampler(entropy='rpn_softmax', caps='none')
    assert sampler.required_fields == ('box_features', 'class_logits')
    assert sampler.reference_fields == ('class_logits',)
    alone = select(sampler, pool, unlabelled(pool), QuerySettings(2))
    assert [frame.utility for frame in alone.frames] == pytest.approx(
        [math.log2(3) / 3, 0.6656 / math.log(2) / 3], abs=5e-5
    )
    merged = select(
        CALSampler(entropy='rpn_softmax', s_obj=0),
        pool,
        unlabelled(pool),
        QuerySettings(9),
        reference=make_pool(reference, width=6),
    )
    utilities = {frame.frame_id: frame.utility for frame in merged.frames}
    assert utilities['b'] == pytest.approx(0.0033 / math.log(2) / 3, abs=1e-3)


def test_labelled_frames_count_as_selected_if_asked():
    pool = make_pool(EXAMPLE, width=6)
    labelled = make_pool({'L': [box('Car', 0.9, feature=E[0]), box('Car', 0.9, feature=E[1])]}, width=6)
    labels = unlabelled(pool).buy(0, [('L', {'Car': 2})])
    sampler = CALSampler(div_reference='labelled', caps='none')
    query = select(sampler, pool, labels, QuerySettings(6), labelled=labelled, annotate=Oracle(ANNOTATED))
    assert query.frame_ids == ('D', 'C', 'E', 'A')
    assert query.frames[-1].relax_level > 0
    with pytest.raises(UserError, match='needs predictions for the labelled frames'):
        select(sampler, pool, labels, QuerySettings(6))
    narrow = make_pool({'L': [box('Car', 0.9, feature=[1.0, 0])]})
    with pytest.raises(UserError, match='box_features have 2 values, expected 6'):
        select(sampler, pool, labels, QuerySettings(6), labelled=narrow)


def test_the_ensemble_may_be_kept_for_one_pretraining():
    sampler = CALSampler(ensemble_after=['CPSPStage'])
    assert [sampler.reads_reference(stage) for stage in ('CPSPStage', 'HSSDAStage')] == [True, False]
    assert CALSampler().reads_reference('HSSDAStage')
    assert not EntropySampler().reads_reference('CPSPStage')
    with pytest.raises(UserError, match='stage in ensemble_after'):
        CALSampler(ensemble_after=['CPSPStag'])
    with pytest.raises(UserError, match='expected a list'):
        CALSampler(ensemble_after='CPSPStage')


def test_equation_6_uses_the_labelled_counts():
    frames = {
        'a': [box('Car', 0.5, feature=E[0])],
        'b': [box('Car', 0.55, feature=E[1])],
        'c': [box('Cyclist', 0.9, feature=E[2])],
        'd': [box('Car', 0.6, feature=E[3])],
    }
    pool = make_pool(frames, ('Car', 'Cyclist'), width=6)
    labels = unlabelled(pool)
    balanced = LabelState(labels.classes, 'test', 4, labels.pool_sha256)
    assert select(CALSampler(), pool, balanced, QuerySettings(3)).frame_ids == ('a', 'b', 'c')  # limits 1.5 each
    cars = balanced.buy(0, [('x', {'Car': 8, 'Cyclist': 1})])
    assert select(CALSampler(), pool, cars, QuerySettings(3)).frame_ids == ('a', 'c', 'b')  # limits 1 and 2.67
    cyclists = balanced.buy(0, [('x', {'Car': 1, 'Cyclist': 8})])
    assert select(CALSampler(), pool, cyclists, QuerySettings(3)).frame_ids == ('a', 'b', 'd')  # limits 2.67 and 1


def test_clusters_of_selected_features_keep_the_budget_and_order_rules():
    rng = random.Random(5)
    frames = random_frames(rng, 60, CLASSES)
    pool = make_pool(frames, width=4)
    exact = select(CALSampler(caps='none'), pool, unlabelled(pool), QuerySettings(40))
    bounded = select(CALSampler(caps='none', cluster=3), pool, unlabelled(pool), QuerySettings(40))
    assert bounded.spent >= 40
    assert bounded.frame_ids[0] == exact.frame_ids[0]
    assert len(set(bounded.frame_ids)) == len(bounded.frame_ids)
    unlimited = select(CALSampler(caps='none', cluster=10**6), pool, unlabelled(pool), QuerySettings(40))
    assert unlimited.frames == exact.frames


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'t_sim': 0}, 't_sim: found 0'),
        ({'t_sim': '0.9'}, "t_sim: found '0.9'"),
        ({'s_rep': 1.5}, r's_rep: found 1.5, expected a number in \[0, 1\]'),
        ({'caps': 'manuel'}, "unknown value of caps 'manuel'.*did you mean 'manual'"),
        ({'div': 'unoin'}, "did you mean 'union'"),
        ({'relax': True}, 'relax: found True, expected a list of names out of s_obj, classes, t_sim'),
        ({'relax': ['t_sm']}, "unknown value of relax 't_sm'.*did you mean 't_sim'"),
        ({'min_precision': 2}, 'min_precision: found 2'),
        ({'cluster': 5, 'div': 'per_frame'}, "expected div='union'"),
        ({'cluster': 0}, 'cluster: found 0'),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        CALSampler(**options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'caps': 'manual', 'class_weights': {'Car': 1, 'Pedestrain': 1, 'Cyclist': 1}}, "did you mean 'Pedestrian'"),
        ({'caps': 'manual', 'class_weights': {'Car': 1}}, 'is missing'),
        ({'caps': 'manual', 'class_weights': {'Car': -1, 'Pedestrian': 2, 'Cyclist': 2}}, 'expected weights >= 0'),
        ({'s_obj': {'Car': 0.3}}, "s_obj: class 'Pedestrian' is missing"),
        ({'w_full': 'low'}, 'w_full'),
    ],
)
def test_wrong_class_settings_are_named(options, message):
    with pytest.raises(UserError, match=message):
        run_example(**options)


def test_unequal_weights_are_scaled_and_said():
    query = run_example(class_weights={'Car': 2, 'Pedestrian': 2, 'Cyclist': 2})
    assert query.frame_ids == ('A', 'D', 'C')
    assert any('class_weights sum to 6' in warning for warning in query.warnings)


def test_annotated_counters_need_annotations():
    pool = make_pool(EXAMPLE, width=6)
    query = select(CALSampler(counts='annotated'), pool, unlabelled(pool), QuerySettings(2))
    assert any("counts='annotated' needs" in warning for warning in query.warnings)


def young_pool(frames=40, phantoms=2):
    """Every frame is predicted to hold a car, which is there, and cyclists, which are not; features differ."""
    return {
        f'{k:03d}': [
            box('Car', 0.6, box=at(0), feature=[1, 0, 0, 0, k, 0]),
            *(box('Cyclist', 0.5 + k / 1000, box=at(20 + 9 * n), feature=[0, 0, k, 1, 0, n]) for n in range(phantoms)),
        ]
        for k in range(frames)
    }


@pytest.mark.parametrize('counts_all', [False, True])
def test_phantoms_do_not_fill_a_class_counter(counts_all):
    """Cyclists are predicted twice a frame and are in none: their counter stays empty, and they stay wanted."""
    pool = make_pool(young_pool(), width=6)
    labels = unlabelled(pool).buy(0, [(f'{k:03d}', {'Car': 1}) for k in range(10)])
    sampler = CALSampler(t_sim=float('inf'), min_precision=0 if counts_all else 0.5)
    oracle = Oracle({frame_id: {'Car': 1} for frame_id in pool.frame_ids.tolist()})
    query = select(sampler, pool, labels, QuerySettings(12), annotate=oracle)
    facts = query.diagnostics['classes']
    assert facts['Car'] == {
        'limit': pytest.approx(1),
        'counted': 12,
        'full': True,
        'counts': True,
        'precision': 1.0,
        'labelled_boxes': 10,
        's_obj': 0.3,
    }
    assert (facts['Cyclist']['precision'], facts['Cyclist']['labelled_boxes']) == (0.0, 20)
    assert facts['Cyclist']['counts'] is counts_all
    assert facts['Cyclist']['counted'] == (24 if counts_all else 0)
    assert facts['Cyclist']['full'] is counts_all
    assert (max(frame.relax_level for frame in query.frames) > 0) is counts_all  # nothing is wanted any more
    json.dumps(query.to_json(), allow_nan=False)


def test_a_class_counts_from_the_score_at_which_it_is_precise():
    """Each frame has a sure cyclist, which is there, and a doubtful one, which is not."""
    frames = {
        f'{k:03d}': [
            box('Cyclist', 0.7, box=at(0), feature=[1, 0, 0, 0, k, 0]),
            *(box('Cyclist', 0.5, box=at(20 + 9 * n), feature=[0, 0, k, 1, 0, n]) for n in range(3)),
        ]
        for k in range(40)
    }
    pool = make_pool(frames, width=6)
    labels = unlabelled(pool).buy(0, [(f'{k:03d}', {'Cyclist': 1}) for k in range(12)])
    oracle = Oracle({frame_id: {'Cyclist': 1} for frame_id in pool.frame_ids.tolist()})
    for least, expected in ((0.5, (1.0, 12, True, 0.5, 6)), (0.2, (0.25, 48, True, 0.3, 24))):
        sampler = CALSampler(t_sim=float('inf'), min_precision=least, caps='none')
        facts = select(sampler, pool, labels, QuerySettings(6), annotate=oracle).diagnostics['classes']['Cyclist']
        found = tuple(facts[name] for name in ('precision', 'labelled_boxes', 'counts', 's_obj', 'counted'))
        assert found == pytest.approx(expected)


def test_one_object_is_not_two_classes():
    """A detector that suppresses class by class shows each pedestrian as a cyclist, too."""
    frames = {
        f'{k:03d}': [
            box('Pedestrian', 0.7, box=at(0), feature=[1, 0, 0, 0, k, 0]),
            box('Cyclist', 0.4, box=at(0.2), feature=[0, 1, k, 0, 0, 0]),
        ]
        for k in range(9)
    }
    pool = make_pool(frames, width=6)
    for threshold, expected in ((None, [1, 1]), (0.1, [1, 0])):
        query = select(CALSampler(ensemble_nms=threshold), pool, None, QuerySettings(1, unit='frames'))
        predicted = query.to_json()['frames'][0]['predicted_boxes']
        assert [predicted['Pedestrian'], predicted['Cyclist']] == expected


def test_precision_is_that_of_what_both_models_see():
    """On labelled frames as in the pool; without the second model's view of them it is not known."""
    frames = young_pool()
    pool = make_pool(frames, width=6)
    seen = make_pool({name: boxes[:2] for name, boxes in frames.items()}, width=6)
    counts = {'Car': 1, 'Cyclist': 1}
    labels = unlabelled(pool).buy(0, [(f'{k:03d}', counts) for k in range(12)])
    query = select(CALSampler(), pool, labels, QuerySettings(5), reference=seen)
    facts = query.diagnostics['classes']['Cyclist']
    assert (facts['precision'], facts['labelled_boxes']) == (1.0, 12)  # the second cyclist is seen by one model
    known, rest = np.arange(12), np.arange(12, 40)
    apart = select(
        CALSampler(),
        pool.take(rest),
        labels,
        QuerySettings(5),
        reference=seen.take(rest),
        labelled=pool.take(known),
        labelled_reference=seen.take(known),
    )
    assert apart.diagnostics == query.diagnostics
    assert apart.frames == query.frames
    unknown = select(
        CALSampler(), pool.take(rest), labels, QuerySettings(5), reference=seen.take(rest), labelled=pool.take(known)
    )
    assert {entry['precision'] for entry in unknown.diagnostics['classes'].values()} == {None}
    assert all(entry['counts'] for entry in unknown.diagnostics['classes'].values())


def test_true_counts_of_bought_frames_count_whatever_the_precision():
    pool = make_pool(young_pool(), width=6)
    labels = unlabelled(pool).buy(0, [(f'{k:03d}', {'Car': 1}) for k in range(10)])
    oracle = Oracle({frame_id: {'Cyclist': 1} for frame_id in pool.frame_ids.tolist()})
    query = select(CALSampler(counts='annotated'), pool, labels, QuerySettings(5), annotate=oracle)
    assert query.diagnostics['classes']['Cyclist']['counted'] == 5
    assert query.diagnostics['classes']['Cyclist']['precision'] is None


def test_diversity_gives_way_last_and_only_where_it_is_named():
    """Many frames hold no box of a wanted class; one of them is new, the others are nearly those taken before."""
    near = [[1, 0.02 * k, 0, 0, 0, 0] for k in range(1, 5)]
    frames = {f'near{k}': [box('Car', 0.5, feature=feature)] for k, feature in enumerate(near)}
    frames |= {'first': [box('Car', 0.5, feature=E[0])], 'new': [box('Cyclist', 0.16, feature=E[3])]}
    pool = make_pool(frames, width=6)

    def levels(**options):
        query = select(CALSampler(caps='none', **options), pool, unlabelled(pool), QuerySettings(6, unit='frames'))
        return {frame.frame_id: frame.relax_level for frame in query.frames}, query

    found, query = levels()
    assert list(found)[:2] == ['first', 'new']
    assert found['new'] == 9  # the first at which 0.3 / (1 + level / 10) is below 0.16
    assert min(level for name, level in found.items() if name.startswith('near')) == 13  # similarities 0.99 to 1
    strict, query = levels(relax=['s_obj', 'classes'])
    assert strict == {'first': 0, 'new': 9}
    assert query.stopped == 'pool_exhausted'
    assert 'new' not in levels(relax=['t_sim'])[0]


def test_the_similarity_limit_never_exceeds_one():
    limits = Limits(0.9, np.full(2, 0.3), np.ones(2), np.ones(2))
    ladder = list(limits.levels())
    assert [step.t_sim for step in ladder] == [0.9] * 12 + [0.99, 1.0, math.inf]
    assert [step.any_class for step in ladder] == [False] * 11 + [True] * 4
    assert ladder[10].s_obj.tolist() == pytest.approx([0.15, 0.15])
    assert len(list(Limits(0.9, np.ones(1), np.ones(1), np.ones(1), relax=()).levels())) == 1
    assert [step.t_sim for step in Limits(1.5, np.ones(1), np.ones(1), np.ones(1), ('t_sim',)).levels()] == [
        1.5,
        math.inf,
    ]
