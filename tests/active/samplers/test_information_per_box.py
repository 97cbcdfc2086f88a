"""Information per box against a greedy that takes full determinants at every step, and in small cases by hand."""

import numpy as np
import pytest

from ssal3d.active import QuerySettings, select
from ssal3d.active.functional.uncertainty import binary_entropy
from ssal3d.active.samplers import EntropySampler, InformationPerBoxSampler, RandomSampler
from ssal3d.errors import UserError
from ssal3d.predictions.synthetic import annotated_boxes, synthetic_pool
from tests.helpers.active_pools import CLASSES, box, make_pool, unlabelled

E = np.eye(6).tolist()


def run(frames, budget=100, labelled=None, annotate=None, predictions=None, **options):
    pool = make_pool(frames, width=6) if isinstance(frames, dict) else frames
    labels = unlabelled(pool)
    for frame_id, boxes in (labelled or {}).items():
        labels = labels.buy(0, [(frame_id, boxes)])
    sampler = InformationPerBoxSampler(**options)
    return select(sampler, pool, labels, QuerySettings(budget), annotate=annotate, labelled=predictions)


def unit(features):
    """Rows of length 1; a zero row stays zero."""
    x = np.asarray(features, dtype=np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1)


def eager(pool, counts, labelled_counts, *, sigma, balance, cost, frame_cost, known=None):
    """Return the order by definition: every frame, every step, determinants of D x D matrices in float64."""
    x = unit(pool['box_features'])
    total = np.eye(x.shape[1])
    if known is not None:
        total += unit(known).T @ unit(known) / sigma**2
    bought, remaining, order = labelled_counts.astype(float), set(range(len(pool))), []
    while remaining:
        weights = ((1 + labelled_counts.min()) / (1 + bought)) ** balance
        q = binary_entropy(pool.scores) * weights[pool.labels] / sigma**2
        best = (-1.0, -1)
        for frame in sorted(remaining, reverse=True):
            own = pool.boxes_of(frame)
            boxes = {'predicted': own.stop - own.start, 'expected': pool.scores[own].astype(float).sum()}
            price = frame_cost + boxes[cost] if cost != 'none' else 1
            more = total + (x[own].T * q[own]) @ x[own]
            gain = (np.linalg.slogdet(more)[1] - np.linalg.slogdet(total)[1]) / 2 / max(price, 1e-6)
            best = max(best, (round(gain, 9) if own.stop > own.start else -0.5, -frame))
        frame = -best[1]
        own = pool.boxes_of(frame)
        total += (x[own].T * q[own]) @ x[own]
        bought += counts[frame]
        remaining.remove(frame)
        order.append(str(pool.frame_ids[frame]))
    return order


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'cost': 'expected', 'balance': 1.0},
        {'sigma': 0.1, 'balance': 0.0, 'frame_cost': 0.0},
        {'cost': 'none', 'balance': 0.0},  # D-optimal design with frames as the experiments
    ],
)
def test_order_is_that_of_the_eager_greedy(seed, options):
    settings = {'sigma': 0.5, 'balance': 0.5, 'cost': 'predicted', 'frame_cost': 1.0, **options}
    pool = synthetic_pool(40, seed=seed, fields=('box_features',), boxes_per_frame=3, width=6)
    revealed = annotated_boxes(pool, seed)
    counts = np.array([[revealed[frame_id][name] for name in CLASSES] for frame_id in pool.frame_ids.tolist()])
    query = run(pool, budget=10**6, annotate=revealed.__getitem__, **settings)
    assert list(query.frame_ids) == eager(pool, counts, np.zeros(3, dtype=int), **settings)


def test_labelled_frames_and_their_counts_are_the_start():
    pool = synthetic_pool(30, seed=5, fields=('box_features',), boxes_per_frame=3, width=6)
    known, frame_id = pool.take(np.arange(5)), pool.frame_ids.tolist()
    labelled = {name: {'Car': 4, 'Cyclist': 1} for name in frame_id[:5]}
    rest = pool.take(np.arange(5, 30))
    counts = np.array([np.bincount(rest.labels[rest.boxes_of(k)], minlength=3) for k in range(25)])
    settings = {'sigma': 0.5, 'balance': 0.5, 'cost': 'predicted', 'frame_cost': 1.0}
    query = run(pool, 10**6, labelled, predictions=known, reference='labelled', **settings)
    assert list(query.frame_ids) == eager(rest, counts, np.array([20, 0, 5]), known=known['box_features'], **settings)
    assert query.frame_ids != run(pool, 10**6, labelled).frame_ids


def test_a_copy_of_a_bought_frame_adds_less():
    frames = {name: [box(feature=E[0]), box(feature=E[1])] for name in 'ab'}
    first, second, third = run({**frames, 'c': [box(feature=E[2])]}, balance=0, frame_cost=1.0).frames
    assert (first.frame_id, second.frame_id, third.frame_id) == ('a', 'c', 'b')
    assert first.utility == pytest.approx(np.log(5) / 3)
    assert second.utility == pytest.approx(np.log(5) / 2 / 2)
    assert third.utility == pytest.approx(np.log(9 / 5) / 3)


def test_of_equal_information_the_cheaper_is_bought_and_empty_frames_come_last():
    frames = {'0': [], 'a': [box(feature=E[0]), box(feature=E[1], score=1.0)], 'b': [box(feature=E[0])]}
    assert run(frames).frame_ids == ('b', 'a', '0')
    assert run(frames, cost='none').frame_ids == ('a', 'b', '0')  # the certain box adds a little
    crowd = {'a': [box(feature=E[0])] * 5, 'b': [box(feature=E[0])]}
    assert run(crowd).frame_ids == ('b', 'a')
    assert run(crowd, cost='none').frame_ids == ('a', 'b')
    assert run(crowd, frame_cost=50).frame_ids == ('a', 'b')
    doubtful = {'a': [box(feature=E[k], score=0.1) for k in range(3)], 'b': [box(feature=E[3], score=0.9)]}
    assert run(doubtful, cost='expected', frame_cost=0).frame_ids == ('a', 'b')


def test_rare_classes_come_first_with_balance_only():
    frames = {'a': [box('Car', 0.5, feature=E[0])], 'b': [box('Cyclist', 0.4, feature=E[1])]}
    pool = make_pool({**frames, 'z': [box(feature=E[2])]}, width=6)
    labelled = {'z': {'Car': 30, 'Pedestrian': 10}}
    assert run(pool, 2, labelled).frame_ids == ('b', 'a')
    assert run(pool, 2, labelled, balance=0).frame_ids == ('a', 'b')
    # what is bought counts, too: after many cyclists a car is worth more
    more = {**frames, 'c': [box('Cyclist', 0.4, feature=E[3])]}
    counts = {'a': {'Car': 1}, 'b': {'Cyclist': 40}, 'c': {'Cyclist': 1}, 'z': {}}
    pool = make_pool({**more, 'z': [box(feature=E[2])]}, width=6)
    assert run(pool, 100, {'z': {'Car': 3}}, counts.__getitem__, balance=1).frame_ids == ('b', 'a', 'c')


def crowded_world(seed, frames=500, kinds=40):
    """Frames of 1 to 60 true boxes that repeat a few of 40 kinds, frequent kinds far more often than rare ones."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, kinds + 1)
    places, hardness = rng.normal(0, 1, (kinds, 16)), rng.beta(2, 2, kinds)
    world, kinds_of = {}, {}
    for number in range(frames):
        scene = rng.choice(kinds, 3, p=frequency / frequency.sum())
        kind = rng.choice(scene, int(np.clip(rng.lognormal(1.9, 0.8), 1, 60)))
        score = np.clip(hardness[kind] + rng.normal(0, 0.15, len(kind)), 0.1, 1)
        feature = places[kind] + rng.normal(0, 0.3, (len(kind), 16))
        world[f'{number:04d}'] = [
            box(CLASSES[k % 3], float(s), feature=f.tolist()) for k, s, f in zip(kind.tolist(), score, feature)
        ]
        kinds_of[f'{number:04d}'] = set(kind.tolist())
    return make_pool(world, width=16), kinds_of


def test_the_same_boxes_show_more_kinds_of_objects():
    seen = {'information': 0, 'entropy': 0, 'random': 0}
    for seed in range(3):
        pool, kinds_of = crowded_world(seed)
        for name, sampler in zip(seen, (InformationPerBoxSampler(), EntropySampler(), RandomSampler())):
            query = select(sampler, pool, unlabelled(pool), QuerySettings(150), seed=seed)
            seen[name] += len(set().union(*(kinds_of[frame_id] for frame_id in query.frame_ids)))
    assert seen['information'] > 1.2 * max(seen['entropy'], seen['random'])


def test_broken_features_are_named():
    with pytest.raises(UserError, match='frame b: box_features hold NaN'):
        run({'a': [box(feature=E[0])], 'b': [box(feature=[np.nan] * 6)]})
    pool = make_pool({'a': [box(feature=E[0])], 'z': [box(feature=E[0])]}, width=6)
    narrow = make_pool({'z': [box(feature=[1.0, 0.0])]})
    with pytest.raises(UserError, match='2 values, expected 6'):
        run(pool, 5, {'z': {'Car': 1}}, predictions=narrow, reference='labelled')
    for options in ({'sigma': 0}, {'dim': 0}, {'balance': -1}, {'cost': 'expcted'}, {'frame_cost': 'a'}):
        with pytest.raises(UserError, match=next(iter(options))):
            InformationPerBoxSampler(**options)
