"""How many files somebody opens who follows a query from `select` into CAL, counted in two ways."""

import sys
from pathlib import Path

import pytest

import ssal3d
from ssal3d.active import CALSampler, QuerySettings, select
from ssal3d.predictions.synthetic import annotated_boxes, second_model, synthetic_pool
from tests.helpers.active_pools import Oracle, unlabelled
from tests.helpers.follow import Follower

ROOT = Path(ssal3d.__file__).parent
CAL = 'active/samplers/cal.py'
# What the path from `select` to CAL's own lines consists of.
WAY = ('active/query/selection.py', 'active/sampler.py')
# Nobody opens these to learn which frames CAL buys: they refuse what is wrong, hold columns, or are operators.
GUARDS = ('errors.py', 'registry.py', 'class_names.py', 'options.py', 'spelling.py', 'active/functional/checks.py')
GUARDS += ('active/functional/chunks.py',)  # what checks look at at once
LEAVES = ('predictions/table.py', 'predictions/stored.py', 'ops/box_geometry.py')


def files_of_cal(sampler, annotate):
    """The files whose functions run while one of CAL's is on the stack, and all files that a query enters."""
    pool = synthetic_pool(40, seed=0, fields=sampler.required_fields)
    reference = second_model(pool, fields=sampler.reference_fields)
    inside, everything, depth = set(), set(), 0

    def trace(frame, event, _):
        nonlocal depth
        path = Path(frame.f_code.co_filename)
        if event not in ('call', 'return') or not path.is_relative_to(ROOT):
            return
        name = path.relative_to(ROOT).as_posix()
        if event == 'call':
            depth += name == CAL
            everything.add(name)
            if depth:
                inside.add(name)
        else:
            depth -= name == CAL

    labels, settings = unlabelled(pool), QuerySettings(60, cost_score=0)
    counts = Oracle(annotated_boxes(pool)) if annotate else None
    before = sys.getprofile()
    sys.setprofile(trace)
    try:
        query = select(sampler, pool, labels, settings, reference=reference, annotate=counts)
    finally:
        sys.setprofile(before)
    assert query.frames
    assert depth == 0
    return inside, everything


@pytest.mark.parametrize('annotate', [True, False])
def test_seven_files_are_read_from_select_into_cal(annotate):
    inside, everything = files_of_cal(CALSampler(), annotate)
    assert everything >= {*WAY, CAL}
    read = (inside | set(WAY)) - {*GUARDS, *LEAVES}
    assert sorted(read) == [
        'active/functional/collaborative_greedy.py',
        'active/functional/diversity.py',
        'active/functional/ensemble.py',
        'active/functional/uncertainty.py',
        'active/query/selection.py',
        'active/sampler.py',
        CAL,
    ]


def test_the_pool_stops_in_no_more_files_than_today_on_its_way_into_cal():
    """Every file with a function that is given the pool or a part of it, guards and operators included.

    The count is that of a review in which the way had twelve files, and which this follower repeats on the code of
    that day (plus `Detections.of`, which the reviewer's way did not take). Since then a query also compares spellings,
    calibrates what a box costs and estimates what the budget buys. A file more needs a reason; a file less is welcome.
    """
    way = Follower(ROOT, {'sampler': (CAL, 'CALSampler')}, end='sampler.order')
    assert way.follow('active/query/selection.py', 'select', 'pool') == [
        'active/query/selection.py',
        'data/label_state.py',  # of which nothing is labelled, if none is given
        'active/query/candidates.py',
        'spelling.py',
        'class_names.py',
        CAL,
        'active/sampler.py',
        'active/functional/ensemble.py',
        'ops/box_geometry.py',
        'active/query/costs.py',
        'active/query/dontcare.py',
        'active/functional/collaborative_greedy.py',
        'active/functional/uncertainty.py',
        'active/functional/diversity.py',
        'active/functional/checks.py',
    ]
    assert way.reached
