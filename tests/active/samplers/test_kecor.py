import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from ssal3d.active import QuerySettings, select
from ssal3d.active.functional.label_entropy import label_entropy
from ssal3d.active.samplers.kecor import KECORSampler, max_det_order
from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.predictions.synthetic import synthetic_pool

LABELLED = 8


def make_pools(frames=30, labelled=LABELLED, width=8, rois=4):
    pool = synthetic_pool(frames, fields=('roi_features',), width=width, rois=rois)
    known = synthetic_pool(labelled, seed=9, fields=KECORSampler.labelled_fields, width=width, rois=rois)
    return pool, replace(known, frame_ids=np.array([f'known-{k}' for k in range(labelled)], dtype=np.str_))


def query(pool, known, budget=10**6, seed=0, **options):
    labels = LabelState.empty(pool.classes, 'test', [*pool.frame_ids.tolist(), *known.frame_ids.tolist()])
    if len(known):
        labels = labels.buy(0, [(frame_id, {'Car': 4}) for frame_id in known.frame_ids.tolist()])
    sampler = KECORSampler(**{'latent': 32, **options})
    return select(sampler, pool, labels, QuerySettings(budget), seed=seed, labelled=known)


def without(known, *names):
    return replace(known, fields={name: values for name, values in known.fields.items() if name not in names})


def test_linear_kernel_avoids_what_is_labelled_or_bought():
    rng = np.random.default_rng(0)
    kinds = 1 + rng.random((3, 32))  # three kinds of frames in the pool, one of them labelled
    pool, known = make_pools(frames=12)
    rows = kinds[np.arange(12) % 3] + 0.001 * rng.random((12, 32))
    pool = replace(pool, fields={'roi_features': rows.astype(np.float16)})
    known = replace(
        known, fields={**known.fields, 'roi_features': np.repeat(kinds[:1], LABELLED, axis=0).astype(np.float16)}
    )
    found = query(pool, known, kernel='linear', latent=256, entropy_weight=0)
    kind = [int(frame_id) % 3 for frame_id in found.frame_ids]
    assert sorted(kind[:2]) == [1, 2]


def test_a_heavy_weight_ranks_by_label_entropy():
    pool, known = make_pools()
    counts = np.stack([np.bincount(pool.labels[pool.boxes_of(frame)], minlength=3) for frame in range(len(pool))])
    found = query(pool, known, entropy_weight=1e9, label_entropy='shannon')
    entropies = label_entropy(counts, 'shannon')[[int(frame_id) for frame_id in found.frame_ids]]
    assert (np.diff(entropies) <= 1e-6).all()


def test_targets_matter_and_seeds_too():
    pool, known = make_pools()
    found = query(pool, known)
    assert not [warning for warning in found.warnings if 'KECOR' in warning]
    assert found == query(pool, known)
    other = replace(known, fields={**known.fields, 'roi_scores_target': 5 - known['roi_scores_target']})
    utilities = [[f.utility for f in q.frames] for q in (found, query(pool, other), query(pool, known, seed=1))]
    assert utilities[0] != utilities[1]
    assert utilities[0] != utilities[2]


@pytest.mark.parametrize('missing', [('roi_scores_target',), ('roi_scores_target', 'roi_residuals_target')])
def test_without_targets_it_says_so_and_uses_features_alone(missing):
    pool, known = make_pools()
    found = query(pool, without(known, *missing))
    assert sorted(found.frame_ids) == pool.frame_ids.tolist()
    assert [missing[-1] in warning and 'trained no proxy' in warning for warning in found.warnings].count(True) == 1
    assert [f.utility for f in found.frames] != [f.utility for f in query(pool, known).frames]
    assert not [w for w in query(pool, without(known, *missing), kernel='linear').warnings if 'proxy' in w]


def test_without_labelled_frames_nothing_is_explained():
    pool, known = make_pools(labelled=0)
    found = query(pool, known)
    assert sorted(found.frame_ids) == pool.frame_ids.tolist()
    assert any('no labelled frames' in warning for warning in found.warnings)


def test_predictions_that_do_not_fit_or_are_not_finite_are_named():
    pool, known = make_pools()
    with pytest.raises(UserError, match='found 16 roi_features per frame, expected 32'):
        query(pool, make_pools(rois=2)[1])
    for name in KECORSampler.labelled_fields:
        values = known[name].copy()
        values[2, 1] = np.nan
        with pytest.raises(UserError, match=f'{name}.*of frame known-2 '):
            query(pool, replace(known, fields={**known.fields, name: values}))
    for bad in (np.nan, np.inf, -np.inf):
        for kernel in ('ntk', 'last_layer', 'linear'):
            values = pool['roi_features'].copy()
            values[3, 1] = bad
            with pytest.raises(UserError, match='roi_features of frame 000003 '):
                query(replace(pool, fields={'roi_features': values}), known, kernel=kernel)
    with pytest.raises(UserError, match='proxy_lr'):
        query(pool, known, proxy_lr=1e30)


@pytest.mark.parametrize(
    'options',
    [
        {'latent': 0},
        {'entropy_weight': -1},
        {'sigma': -1},
        {'train_sigma': 0},
        {'proxy_steps': -1},
        {'proxy_lr': -1},
        {'kernel': 'laplace'},
        {'label_entropy': 'gini'},
    ],
)
def test_options_are_checked(options):
    with pytest.raises(UserError, match=next(iter(options))):
        KECORSampler(**options)


def order(features, bonus=None, sigma=0.1, seed=0):
    features = np.asarray(features, dtype=np.float64)
    bonus = np.zeros(len(features)) if bonus is None else np.asarray(bonus)
    return list(max_det_order(features, bonus, sigma, random.Random(seed)))


def test_example_of_the_specification():
    found = order([[2, 0], [1.9, 0.1], [0, 1]], bonus=0.1 * np.array([0, 0.5, 0.1]))
    assert [row for row, _ in found] == [0, 2, 1]
    assert [score for _, score in found][:2] == pytest.approx([4.01, 1.02])
    without = order([[2, 0], [1.9, 0.1]], bonus=[0, 0.05])
    assert [score for _, score in without] == pytest.approx([4.01, 0.0790], abs=5e-5)
    assert order([[1.9, 0.1]], bonus=[0.05])[0][1] == pytest.approx(3.68)


def brute_force(features, bonus, sigma):
    """Pick what makes the determinant largest, computed anew each time."""
    matrix = features @ features.T + np.diag(sigma**2 + bonus)
    picked, determinants = [], [0.0]
    while len(picked) < len(features):
        logs = {
            row: np.linalg.slogdet(matrix[np.ix_([*picked, row], [*picked, row])])[1]
            for row in range(len(features))
            if row not in picked
        }
        picked.append(max(logs, key=logs.get))
        determinants.append(logs[picked[-1]])
    return picked, np.diff(determinants)


@pytest.mark.parametrize('weight', [0, 0.5])
@pytest.mark.parametrize('width', [3, 40])
def test_greedy_maximisation_of_the_determinant(weight, width):
    rng = np.random.default_rng(width)
    features, bonus = rng.normal(size=(25, width)), weight * rng.random(25)
    picked, gains = brute_force(features, bonus, 0.1)
    found = order(features, bonus)
    assert [row for row, _ in found] == picked
    assert np.log([score for _, score in found]) == pytest.approx(gains)


def test_copies_come_after_every_distinct_row():
    distinct = np.random.default_rng(0).normal(size=(6, 10))
    found = [row for row, _ in order(np.repeat(distinct, 3, axis=0))]
    assert sorted(found[:6]) == [0, 3, 6, 9, 12, 15]
    noise = 1 + 1e-7 * np.random.default_rng(1).normal(size=(20, 1))
    assert [row for row, _ in order(np.ones((20, 4)) * noise)] == list(range(20))


def test_the_order_does_not_depend_on_how_far_it_is_walked():
    features = np.random.default_rng(1).normal(size=(40, 5))
    walk = max_det_order(features, np.zeros(40), 0.1, random.Random(0))
    parts = [list(itertools.islice(walk, size)) for size in (1, 0, 7, 40)]
    assert list(itertools.chain(*parts)) == order(features)


def test_without_a_positive_score_the_rest_is_in_a_seeded_random_order():
    features = np.array([[0.0, 0], [3, 0], [0, 0], [1, 0], [0, 2], [0, 0], [5, 1]])
    found = order(features, sigma=0)
    assert [row for row, score in found if score is not None] == [6, 4]
    rest = [row for row, score in found if score is None]
    assert sorted(rest) == [0, 1, 2, 3, 5]
    assert found == order(features, sigma=0)
    assert len({tuple(row for row, _ in order(features, sigma=0, seed=seed)) for seed in range(9)}) > 1
    assert sorted(row for row, _ in order(np.zeros((4, 0)), sigma=0)) == [0, 1, 2, 3]
    assert order(np.zeros((0, 3))) == []
