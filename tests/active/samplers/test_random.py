import numpy as np
import pytest

from ssal3d.active import QuerySettings, RandomSampler, pool_of_ids, select
from ssal3d.errors import UserError
from tests.helpers.active_pools import CLASSES, Oracle, unlabelled


def shuffled(ids, seed, budget=None, stop_rule='include_crossing', **options):
    pool = pool_of_ids(ids, CLASSES)
    counts = options.pop('counts', {frame_id: {'Car': 1} for frame_id in ids})
    budget = len(ids) if budget is None else budget
    return select(
        RandomSampler(),
        pool,
        unlabelled(pool),
        QuerySettings(budget, stop_rule=stop_rule),
        seed=seed,
        annotate=Oracle(counts),
        **options,
    )


def test_shuffle_of_the_released_code():
    assert shuffled([str(k) for k in range(10)], 666).frame_ids == tuple('1359042867')
    first = shuffled([f'{k:06d}' for k in range(3712)], 2025, budget=12).frame_ids
    expected = [1834, 3538, 3413, 2422, 355, 2097, 371, 1812, 2781, 2374, 342, 3438]
    assert [int(frame_id) for frame_id in first] == expected


def test_the_given_order_is_shuffled():
    assert shuffled([str(k) for k in reversed(range(10))], 666).frame_ids == tuple('8640957132')


def test_exclusive_stop_of_the_initial_selection():
    ids = [str(k) for k in range(10)]
    counts = {frame_id: {'Car': 2, 'Cyclist': 1} for frame_id in ids} | {'5': {}}
    query = shuffled(ids, 666, budget=7, counts=counts, stop_rule='exclude_crossing')
    assert query.frame_ids == ('1', '3', '5')
    assert (query.spent, query.stopped, query.round) == (6, 'budget', 0)
    assert query.spent_per_class == {'Car': 4, 'Pedestrian': 0, 'Cyclist': 2}
    assert query.warnings == ('exclude_crossing looked at the boxes of frame 9 before refusing it',)
    assert shuffled(ids, 666, budget=7, counts=counts).frame_ids == ('1', '3', '5', '9')


def test_every_frame_is_equally_likely():
    ids = [str(k) for k in range(10)]
    picked = np.zeros(10)
    for seed in range(200):
        for frame_id in shuffled(ids, seed, budget=3).frame_ids:
            picked[int(frame_id)] += 1
    chi_squared = ((picked - 60) ** 2 / 60).sum()
    assert picked.sum() == 600
    assert chi_squared < 27.9  # 0.1 % for 9 degrees of freedom; draws without replacement spread less


def test_ids_alone_need_annotations_and_must_differ():
    pool = pool_of_ids(['a', 'b'], CLASSES)
    with pytest.raises(UserError, match='the cost of a frame in boxes is unknown'):
        select(RandomSampler(), pool, unlabelled(pool), QuerySettings(1))
    with pytest.raises(UserError, match='frame b is listed twice'):
        pool_of_ids(['b', 'a', 'b'], CLASSES)
