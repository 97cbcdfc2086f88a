"""BADGE: the draws of scikit-learn on the right frames, and certain frames are not drawn."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import kmeans_plusplus

from ssal3d.active import QuerySettings, select
from ssal3d.active.samplers import BADGESampler
from ssal3d.errors import UserError
from ssal3d.predictions import read_predictions
from ssal3d.predictions.synthetic import synthetic_pool, write_predictions
from tests.helpers.active_pools import unlabelled


def pool_of(gradients, **metadata):
    pool = synthetic_pool(len(gradients))
    return replace(pool, fields={'gradient': np.asarray(gradients, dtype=np.float32)}, metadata=metadata)


def order(pool, *, budget=10**6, seed=0, labels=None, **options):
    query = select(BADGESampler(**options), pool, labels or unlabelled(pool), QuerySettings(budget), seed=seed)
    return [int(frame) for frame in query.frame_ids]


@pytest.mark.parametrize('seed', [0, 4])
def test_same_draws_as_scikit_learn(seed):
    gradients = np.random.default_rng(seed).normal(size=(120, 30)).astype(np.float32)
    pool = pool_of(gradients)
    # one box per labelled frame: a budget of 20 boxes is expected to buy 20 frames
    labels = unlabelled(pool).buy(0, [('labelled', {'Car': 1})])
    expected = kmeans_plusplus(gradients, 20, random_state=seed)[1].tolist()
    found = order(pool, budget=20, seed=seed, labels=labels)
    assert found == expected[: len(found)]
    assert found


def test_certain_frames_are_not_favoured():
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(60, 8))
    certain = np.arange(0, 60, 2)
    gradients[certain] = 0
    for seed in range(5):
        found = order(pool_of(gradients), seed=seed)
        assert sorted(found) == list(range(60))
        assert len(set(found[:31]) & set(certain.tolist())) == 1  # one centre stands for all of them
        assert set(found[31:]) < set(certain.tolist())


def test_gradients_stay_with_their_frames(tmp_path):
    """The released code reads gradients and frame ids in different orders."""
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.normal(0, 3, 40))
    pool = pool_of(sizes[:, None] * rng.normal(size=(40, 6)))
    pool.fields['gradient'][:, 0] = np.arange(40)  # the frame id
    expected = order(pool)
    shuffled = rng.permutation(40)
    for part in range(4):  # frames in any order, also within a part
        rows = shuffled[10 * part : 10 * part + 10]
        write_predictions(pool.take(rows), tmp_path / str(part), frames_per_part=5)
        for path in (tmp_path / str(part)).glob('part-*'):
            path.rename(tmp_path / f'part-{part}-{path.name}')
        (tmp_path / str(part)).rmdir()
    read = read_predictions(tmp_path, ('gradient',))
    assert read['gradient'][:, 0].tolist() == read.frame_ids.astype(int).tolist()
    assert order(read) == expected


def test_gradients_of_another_layer_are_refused():
    gradients = np.eye(3)
    assert order(pool_of(gradients, gradient_layer='roi_cls'))
    assert order(pool_of(gradients, gradient_layer='rpn_conv_cls'), layer='rpn_conv_cls')
    with pytest.raises(UserError, match="found gradients of the layer 'shared_fc', expected 'roi_cls'"):
        order(pool_of(gradients, gradient_layer='shared_fc'))


@pytest.mark.parametrize('value', [np.nan, np.inf, 1e30])
def test_gradients_that_are_no_numbers_are_refused(value):
    gradients = np.eye(3)
    gradients[1, 1] = value
    with pytest.raises(UserError, match='the gradient of frame 000001 holds NaN'):
        order(pool_of(gradients))


def test_the_detector_is_told_what_to_compute():
    assert BADGESampler().extraction == {'gradient': 'roi_cls', 'projection': 64}
    assert BADGESampler('rpn_conv_cls', None).extraction == {'gradient': 'rpn_conv_cls', 'projection': None}
    with pytest.raises(UserError, match='proj_dim: found 0'):
        BADGESampler(proj_dim=0)
