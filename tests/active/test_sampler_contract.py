"""What every registered sampler promises. A new sampler needs one line in SAMPLERS."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from ssal3d.active import ActiveSampler, QuerySettings, pool_of_ids, select
from ssal3d.errors import UserError
from ssal3d.predictions import read_predictions
from ssal3d.predictions.schema import COLUMNS
from ssal3d.predictions.synthetic import annotated_boxes, second_model, synthetic_pool, write_predictions
from ssal3d.registry import ACTIVE_SAMPLERS
from tests.helpers.active_pools import Oracle, unlabelled

SAMPLERS = {
    'random': {'type': 'RandomSampler'},
    'confidence': {'type': 'ConfidenceSampler'},
    'confidence, other options': {'type': 'ConfidenceSampler', 'mode': 'margin', 'pool': 'max'},
    'entropy': {'type': 'EntropySampler'},
    'entropy, softmax': {'type': 'EntropySampler', 'source': 'softmax_rpn'},
    'kecor': {'type': 'KECORSampler', 'latent': 32},
    'kecor, last layer': {'type': 'KECORSampler', 'latent': 16, 'kernel': 'last_layer', 'sigma': 0, 'proxy_steps': 0},
    'kecor, linear': {'type': 'KECORSampler', 'latent': 16, 'kernel': 'linear', 'entropy_weight': 0, 'sigma': 0},
    'llal': {'type': 'LLALSampler'},
    'mc_dropout': {'type': 'MCDropoutSampler'},
    'mc_dropout, residuals': {'type': 'MCDropoutSampler', 'mode': 'reg'},
    'mc_dropout, mutual information': {'type': 'MCDropoutSampler', 'mode': 'mi'},
    'coreset': {'type': 'CoreSetSampler'},
    'coreset, other options': {'type': 'CoreSetSampler', 'init': 'mean', 'pool': 'mean'},
    'badge': {'type': 'BADGESampler'},
    'badge, other options': {'type': 'BADGESampler', 'layer': 'rpn_conv_cls', 'proj_dim': None},
    'crb': {'type': 'CRBSampler'},
    'crb, k-means': {'type': 'CRBSampler', 'prototype': 'kmeans', 'label_entropy': 'crb_paper', 'k1': 1, 'k2': 1},
    'crb, mixture': {'type': 'CRBSampler', 'prototype': 'gmm', 'label_entropy': 'shannon', 'k2': 1},
    'crb, birch': {'type': 'CRBSampler', 'prototype': 'birch', 'k2': 1},
    'ppal': {'type': 'PPALSampler'},
    'ppal, few candidates': {'type': 'PPALSampler', 'delta': 1.5, 'score_thr': 0.5, 'max_boxes': 2, 'iterations': 1},
    'information_per_box': {'type': 'InformationPerBoxSampler'},
    'information_per_box, other options': {
        'type': 'InformationPerBoxSampler',
        'dim': 3,
        'balance': 1.0,
        'cost': 'expected',
        'frame_cost': 0.0,
        'reference': 'labelled',
    },
    'cal': {'type': 'CALSampler'},
    'cal, no uncertainty': {'type': 'CALSampler', 'entropy': 'none'},
    'cal, other options': {
        'type': 'CALSampler',
        'entropy': 'rpn_softmax',
        'div': 'per_frame',
        'div_reference': 'labelled',
        'caps': 'manual',
        'counts': 'annotated',
        'ensemble_nms': 0.1,
        'relax': ['t_sim', 'classes'],
        'min_precision': 0,
    },
}

every_sampler = pytest.mark.parametrize('name', SAMPLERS)


def build(name: str, **options) -> ActiveSampler:
    return ACTIVE_SAMPLERS.build({**SAMPLERS[name], **options})


def run(name, pool, *, budget=20, counts=None, seed=0, sampler=None, **settings):
    """Query with everything that a sampler may ask for."""
    sampler = sampler or build(name)
    settings = QuerySettings(budget, **{'cost_score': 0, **settings})
    names = sorted(pool.classes)  # the labelled frames hold the same objects whatever the order of the classes
    labelled = synthetic_pool(6, seed=77, fields=sampler.labelled_fields, classes=names)
    labelled = replace(
        labelled,
        frame_ids=np.array([f'labelled-{k}' for k in range(6)]),
        labels=np.array([pool.classes.index(label) for label in names], dtype=np.int16)[labelled.labels],
        classes=pool.classes,
    )
    labels = unlabelled(pool)
    for k, frame_id in enumerate(labelled.frame_ids.tolist()):
        labels = labels.buy(0, [(frame_id, {names[0]: k})])
    return select(
        sampler,
        pool,
        labels,
        settings,
        seed=seed,
        annotate=counts,
        reference=second_model(pool, fields=sampler.reference_fields) if sampler.uses_reference else None,
        labelled=labelled if sampler.needs_labelled else None,
    )


def make(name, frames, seed=0, **options):
    return synthetic_pool(frames, seed=seed, fields=build(name).required_fields, **options)


def test_every_registered_sampler_is_tested():
    assert {config['type'] for config in SAMPLERS.values()} == set(ACTIVE_SAMPLERS.module_dict)


@every_sampler
def test_options_are_attributes_checked_and_recorded(name):
    sampler = build(name)
    config = sampler.config
    assert config.items() >= SAMPLERS[name].items()
    assert json.loads(json.dumps(config, allow_nan=False)) == config
    assert ACTIVE_SAMPLERS.build(config).config == config
    with pytest.raises(UserError, match=f"unknown option of {config['type']} 'nonsense'"):
        build(name, nonsense=1)


@every_sampler
def test_required_fields_exist_in_the_contract_and_are_asked_for_by_name(name):
    sampler = build(name)
    fields = {*sampler.required_fields, *sampler.reference_fields, *sampler.labelled_fields}
    assert fields <= set(COLUMNS)
    assert set(sampler.optional_fields) <= set(COLUMNS)
    for field in sampler.required_fields:
        pool = make(name, 4)
        del pool.fields[field]
        with pytest.raises(UserError, match=field):
            run(name, pool)


@every_sampler
def test_it_says_whether_it_looks_at_predictions(name):
    sampler, pool = build(name), make(name, 12)
    assert isinstance(sampler.uses_predictions, bool)
    if sampler.uses_predictions:
        return
    assert not any((sampler.required_fields, sampler.optional_fields, sampler.uses_reference, sampler.uses_labelled))
    bare, settings = pool_of_ids(pool.frame_ids.tolist(), pool.classes), QuerySettings(5, unit='frames')
    queries = [select(sampler, frames, unlabelled(pool), settings, seed=3) for frames in (pool, bare)]
    assert queries[0].frame_ids == queries[1].frame_ids


@every_sampler
def test_inputs_it_cannot_work_without_are_named(name):
    sampler, pool = build(name), make(name, 3)
    if sampler.needs_reference:
        with pytest.raises(UserError, match='reference-predictions'):
            select(sampler, pool, unlabelled(pool), budget=1)
    elif sampler.needs_labelled:
        labels = unlabelled(pool).buy(0, [('elsewhere', {'Car': 1})])
        with pytest.raises(UserError, match='labelled-predictions'):
            select(sampler, pool, labels, QuerySettings(1))
    else:
        assert select(sampler, pool, unlabelled(pool), QuerySettings(1)).frames


@every_sampler
@pytest.mark.parametrize('annotates', [True, False])
def test_cold_start(name, annotates):
    """Nothing is labelled, and there are no predictions of labelled frames."""
    pool, sampler = make(name, 12), build(name)
    counts = Oracle(annotated_boxes(pool)) if annotates else None
    reference = second_model(pool, fields=sampler.reference_fields) if sampler.needs_reference else None
    for settings in (QuerySettings(9), QuerySettings(3, unit='frames')):
        query = select(sampler, pool, unlabelled(pool), settings, annotate=counts, reference=reference)
        assert query.stopped == 'budget'
        assert query.round == 0
        assert query.frames


UNITS = {'boxes': 20, 'frames': 7, 'both': 40}


@every_sampler
@pytest.mark.parametrize('unit', UNITS)
@pytest.mark.parametrize('annotates', [True, False])
def test_every_unit_of_the_budget(name, unit, annotates):
    pool, budget = make(name, 30), UNITS[unit]
    counts = annotated_boxes(pool)
    price = {'frame': 4, 'box': 0.5} if unit == 'both' else unit
    query = run(name, pool, budget=budget, counts=Oracle(counts) if annotates else None, unit=price)
    boxes = [sum((frame.annotated_boxes or frame.predicted_boxes).values()) for frame in query.frames]
    costs = {'boxes': boxes, 'frames': [1] * len(boxes), 'both': [4 + 0.5 * number for number in boxes]}[unit]
    assert query.spent == sum(costs) >= budget > query.spent - costs[-1]
    assert sum(query.spent_per_class.values()) == sum(boxes)
    assert query.to_json()['unit'] == price
    json.dumps(query.to_json(), allow_nan=False)


@every_sampler
def test_the_query_decides_which_frames_there_are_and_not_the_sampler(name):
    """The same rule for DontCare regions leaves the same pool to every sampler."""
    pool, sampler = make(name, 10), build(name)
    assert 'dontcare' not in sampler.config
    hidden = pool.frame_ids[::2].tolist()
    regions = {frame_id: [[0, 0, 9, 9]] for frame_id in hidden}
    settings = QuerySettings(10**6, dontcare='frame')
    reference = second_model(pool, fields=sampler.reference_fields) if sampler.needs_reference else None
    query = select(sampler, pool, unlabelled(pool), settings, dontcare_regions=regions, reference=reference)
    assert sorted(query.frame_ids) == pool.frame_ids[1::2].tolist()
    assert any(warning.startswith("oracle: dontcare='frame' excluded 5 of 10") for warning in query.warnings)


@every_sampler
def test_a_frame_offered_twice_is_an_error(name):
    sampler, pool, order = build(name), make(name, 6), type(build(name)).order

    class Twice(type(sampler)):
        def order(self, pool, context):
            for candidate in order(self, pool, context):
                yield candidate
                yield candidate

    twice = Twice(**{key: value for key, value in sampler.config.items() if key != 'type'})
    with pytest.raises(UserError, match=r'Twice offers frame \d+ twice'):
        run(name, pool, sampler=twice, budget=10**6)


@every_sampler
def test_budget_is_met_with_frames_of_the_pool_once_each(name):
    pool = make(name, 40)
    counts = Oracle(annotated_boxes(pool))
    query = run(name, pool, counts=counts)
    assert query.stopped == 'budget'
    assert query.spent >= 20 > query.spent - sum(query.frames[-1].annotated_boxes.values())
    assert query.spent == sum(query.spent_per_class.values())
    assert len(set(query.frame_ids)) == len(query.frame_ids)
    assert set(query.frame_ids) <= set(pool.frame_ids.tolist())
    assert counts.asked == list(query.frame_ids)


@every_sampler
def test_whole_pool_is_offered_once_and_then_it_ends(name):
    pool = make(name, 25, boxes_per_frame=2)
    query = run(name, pool, budget=10**6)
    assert sorted(query.frame_ids) == pool.frame_ids.tolist()
    assert query.stopped == 'pool_exhausted'
    assert query.shortfall == 10**6 - query.spent
    assert any('the pool ran out' in warning for warning in query.warnings)


@every_sampler
def test_same_seed_same_query(name):
    pool = make(name, 30)
    assert run(name, pool, seed=5) == run(name, pool, seed=5)
    state, numpy_state = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    run(name, pool, seed=5)
    assert random.getstate() == state
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


@every_sampler
def test_order_of_rows_and_parts_does_not_matter(name, tmp_path):
    pool = make(name, 30)
    write_predictions(pool, tmp_path / 'one')
    for part, frames in enumerate((range(20, 30), range(7), range(7, 20))):
        write_predictions(pool.take(np.array(frames)), tmp_path / 'many' / str(part))
    for path in sorted((tmp_path / 'many').glob('*/part-*')):
        path.rename(tmp_path / 'many' / f'part-{path.parent.name}-x.parquet')
    fields = build(name).required_fields
    queries = [run(name, read_predictions(tmp_path / folder, fields)) for folder in ('one', 'many')]
    assert queries[0] == queries[1]


@every_sampler
def test_labels_are_revealed_after_purchase_and_those_of_others_never(name):
    pool = make(name, 30)
    counts = annotated_boxes(pool)
    query = run(name, pool, counts=Oracle(counts))
    garbled = {frame_id: counts[frame_id] if frame_id in query.frame_ids else None for frame_id in counts}
    assert run(name, pool, counts=Oracle(garbled)) == query


@every_sampler
def test_the_order_is_lazy(name):
    """The sampler is asked for the next frame only after it was told about the last one."""
    sampler, pool = build(name), make(name, 20)
    told, order = [], type(sampler).order

    class Watched(type(sampler)):
        def order(self, pool, context):
            for candidate in order(self, pool, context):
                yield candidate
                assert list(context.revealed)[-1] == candidate.frame
                told.append(candidate.frame)

    watched = Watched(**{key: value for key, value in sampler.config.items() if key != 'type'})
    query = run(name, pool, sampler=watched)
    assert len(told) == len(query.frames) - 1  # after the last purchase it is not asked again


@every_sampler
@pytest.mark.parametrize('classes', [('Car',), ('Car', 'Cyclist'), ('Car', 'Pedestrian', 'Cyclist', 'Van')])
@pytest.mark.parametrize('rule', ['include_crossing', 'exclude_crossing'])
def test_any_number_of_classes(name, classes, rule):
    pool = make(name, 20, classes=classes)
    query = run(name, pool, counts=Oracle(annotated_boxes(pool)), stop_rule=rule)
    assert query.frames
    assert set(query.spent_per_class) == set(classes)
    assert (query.spent >= 20) is (rule == 'include_crossing') or query.spent == 20


HOSTILE = {
    'no frame': (0, {}),
    'one frame': (1, {}),
    'no box at all': (5, {'boxes_per_frame': 0}),
    'mostly empty': (12, {'boxes_per_frame': 0.3}),
    'all of one class': (8, {'only_class': 1}),
    'scores of 0 and 1': (8, {'certain': True}),
    'all frames alike': (8, {'alike': True}),
}


@every_sampler
@pytest.mark.parametrize('case', HOSTILE)
@pytest.mark.parametrize('budget', [0, 3, 10**6])
def test_hostile_pools_end_with_a_valid_query(name, case, budget):
    frames, changes = HOSTILE[case]
    pool = make(name, frames, boxes_per_frame=changes.get('boxes_per_frame', 12))
    if 'only_class' in changes:
        pool = replace(pool, labels=np.full_like(pool.labels, changes['only_class']))
    if 'certain' in changes:
        pool = replace(pool, scores=(np.arange(len(pool.scores)) % 2).astype(np.float32))
    if 'alike' in changes:
        one = make(name, 1)
        pool = replace(
            pool,
            offsets=np.arange(frames + 1) * len(one.scores),
            boxes=np.tile(one.boxes, (frames, 1)),
            scores=np.tile(one.scores, frames),
            labels=np.tile(one.labels, frames),
            fields={
                field: np.concatenate([value] * frames) if isinstance(value, np.ndarray) else pool.fields[field]
                for field, value in one.fields.items()
            },
        )
    query = run(name, pool, budget=budget)
    assert len(set(query.frame_ids)) == len(query.frames) <= frames
    if budget == 0:
        assert (query.frames, query.spent, query.stopped, query.shortfall) == ((), 0, 'budget', 0)
    else:
        assert query.spent >= budget or len(query.frames) == frames
        assert query.stopped == ('budget' if query.spent >= budget else 'pool_exhausted')
    json.dumps(query.to_json(), allow_nan=False)


@every_sampler
def test_class_order_does_not_matter(name):
    """Nothing depends on the position of a class: KITTI's order differs between code bases."""
    pool = make(name, 30)
    lookup = np.array([2, 0, 1], dtype=np.int16)  # old index -> new index
    classes = tuple(pool.classes[list(lookup).index(k)] for k in range(3))
    fields = dict(pool.fields)
    if 'class_logits' in fields:
        fields['class_logits'] = fields['class_logits'][:, np.argsort(lookup)]
    other = replace(pool, classes=classes, labels=lookup[pool.labels], fields=fields)
    counts = annotated_boxes(pool)
    queries = [run(name, version, counts=Oracle(counts)) for version in (pool, other)]
    assert queries[0].frame_ids == queries[1].frame_ids
    assert queries[0].spent_per_class == queries[1].spent_per_class


def test_unknown_sampler_is_named():
    with pytest.raises(UserError, match=r"unknown active sampler 'CALSampeler'.*did you mean 'CALSampler'"):
        ACTIVE_SAMPLERS.build({'type': 'CALSampeler'})
