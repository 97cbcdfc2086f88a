"""What every query keeps to: its budget, its order, and that names and places of frames decide nothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ssal3d.active.samplers  # noqa: F401 - registers
from ssal3d.active.query.budget import STOP_RULES, spend_budget
from ssal3d.active.query.selection import select
from ssal3d.active.query.settings import QuerySettings
from ssal3d.active.query.units import build_unit
from ssal3d.active.sampler import Candidate
from ssal3d.predictions.synthetic import synthetic_pool
from ssal3d.registry import ACTIVE_SAMPLERS

COSTS = st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), max_size=25).map(
    lambda rows: np.array(rows, dtype=np.int64).reshape(-1, 2)
)
UNITS = st.sampled_from(('boxes', 'frames', {'frame': 0.7, 'box': 0.1}))
RULES = st.sampled_from(STOP_RULES)


def walk(costs, budget, rule, unit):
    """Buy frames in their order; return them, what each cost, and the purchase."""
    prices = build_unit(unit).prices(costs, ('Car', 'Cyclist'))
    told = []
    bought = spend_budget(
        (Candidate(frame) for frame in range(len(costs))),
        costs.__getitem__,
        lambda frame, boxes: told.append(frame),
        lambda boxes: float(build_unit(unit).prices(boxes[None], ('Car', 'Cyclist'))[0]),
        budget,
        rule,
    )
    frames = [frame.candidate.frame for frame in bought.frames]
    assert told == frames == list(range(len(frames)))
    return frames, prices, bought


@given(costs=COSTS, budget=st.integers(0, 60), rule=RULES, unit=UNITS)
def test_a_budget_is_never_exceeded_by_more_than_the_frame_that_crosses_it(costs, budget, rule, unit):
    frames, prices, bought = walk(costs, budget, rule, unit)
    assert bought.spent == pytest.approx(prices[frames].sum())
    assert bought.spent - (prices[frames[-1]] if frames and rule == 'include_crossing' else 0) <= budget
    if bought.stopped == 'pool_exhausted':
        assert len(frames) == len(costs)
        assert bought.spent < budget
    elif len(frames) < len(costs):  # nothing that could still be bought was left
        limit = budget if rule == 'include_crossing' else budget - prices[len(frames)] + 1e-9
        assert bought.spent >= min(limit, budget)


@given(costs=COSTS, budgets=st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted), rule=RULES, unit=UNITS)
def test_more_money_buys_the_same_frames_and_more(costs, budgets, rule, unit):
    few, many = (walk(costs, budget, rule, unit)[0] for budget in budgets)
    assert many[: len(few)] == few


FIELDS = ('box_features', 'class_logits', 'roi_features', 'roi_valid')
SAMPLERS = ('RandomSampler', 'ConfidenceSampler', 'EntropySampler', 'CoreSetSampler', 'CALSampler')


def query(name, pool, budget, unit='boxes', seed=3):
    settings_ = QuerySettings(budget=budget, unit=unit)
    return select(ACTIVE_SAMPLERS.build({'type': name}), pool, None, settings_, seed=seed)


@settings(max_examples=8)
@pytest.mark.parametrize('name', SAMPLERS)
@given(seed=st.integers(0, 10**6), budget=st.integers(1, 120))
def test_queries_keep_to_the_budget_and_buy_no_frame_twice(name, seed, budget):
    pool = synthetic_pool(40, seed=seed, fields=FIELDS, boxes_per_frame=4)
    found = query(name, pool, budget)
    costs = [sum(frame.predicted_boxes.values()) for frame in found.frames]
    assert len(set(found.frame_ids)) == len(found.frame_ids)
    assert set(found.frame_ids) <= set(pool.frame_ids.tolist())
    assert found.spent == sum(costs) == sum(found.spent_per_class.values())
    if found.stopped == 'budget':
        assert found.spent - costs[-1] < budget <= found.spent
    else:
        assert found.spent < budget
        assert len(found.frames) == len(pool)


def shuffled(pool, order):
    """The same frames under other numbers: frame ``order[k]`` of the pool comes at place k."""
    rows = np.concatenate([np.arange(pool.offsets[frame], pool.offsets[frame + 1]) for frame in order])
    counts = np.diff(pool.offsets)[order]
    return replace(
        pool,
        frame_ids=pool.frame_ids,
        offsets=np.concatenate(([0], np.cumsum(counts))),
        boxes=pool.boxes[rows],
        scores=pool.scores[rows],
        labels=pool.labels[rows],
        fields={key: values[rows] for key, values in pool.fields.items()},
    )


@settings(max_examples=8)
@pytest.mark.parametrize('name', ['ConfidenceSampler', 'EntropySampler'])
@given(seed=st.integers(0, 10**6), budget=st.integers(1, 120), data=st.data())
def test_a_ranking_does_not_depend_on_where_a_frame_stands(name, seed, budget, data):
    pool = synthetic_pool(40, seed=seed, fields=FIELDS[:2], boxes_per_frame=4)
    order = data.draw(st.permutations(range(len(pool))))
    found, other = query(name, pool, budget), query(name, shuffled(pool, np.array(order)), budget)
    ids = dict(zip(pool.frame_ids.tolist(), pool.frame_ids[np.array(order)].tolist()))
    ranked = [frame for frame in found.frames if frame.utility is not None]
    utilities = {frame.utility for frame in found.frames}
    assert [frame.utility for frame in ranked] == [
        frame.utility for frame in other.frames if frame.utility is not None
    ][: len(ranked)]
    if len(utilities) == len(found.frames):  # ties go by the id
        assert [ids[frame_id] for frame_id in other.frame_ids] == list(found.frame_ids)


@settings(max_examples=8)
@pytest.mark.parametrize('name', SAMPLERS)
@given(seed=st.integers(0, 10**6), budget=st.integers(1, 80))
def test_the_spelling_of_frame_ids_decides_nothing(name, seed, budget):
    pool = synthetic_pool(40, seed=seed, fields=FIELDS, boxes_per_frame=4)
    names = {frame_id: f'street-{int(frame_id) * 7 + 5:08d}-x' for frame_id in pool.frame_ids.tolist()}
    renamed = replace(pool, frame_ids=np.array([names[frame_id] for frame_id in pool.frame_ids.tolist()]))
    first, second = query(name, pool, budget), query(name, renamed, budget)
    assert [names[frame_id] for frame_id in first.frame_ids] == list(second.frame_ids)
    assert first.spent == second.spent


@settings(max_examples=8)
@pytest.mark.parametrize('name', ['RandomSampler', 'ConfidenceSampler', 'EntropySampler'])
@given(seed=st.integers(0, 10**6), budgets=st.tuples(st.integers(1, 80), st.integers(1, 80)).map(sorted))
def test_samplers_without_a_view_of_the_budget_buy_a_part_of_what_more_money_buys(name, seed, budgets):
    pool = synthetic_pool(40, seed=seed, fields=FIELDS, boxes_per_frame=4)
    few, many = (query(name, pool, budget).frame_ids for budget in budgets)
    assert many[: len(few)] == few
