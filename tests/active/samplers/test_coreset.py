"""CoreSet: a worked example, what it compares, and mistakes in its columns."""

from dataclasses import replace

import numpy as np
import pytest

from ssal3d.active import QuerySettings, select
from ssal3d.active.samplers import CoreSetSampler
from ssal3d.active.samplers.coreset import mean_of_rois
from ssal3d.errors import UserError
from ssal3d.predictions.synthetic import synthetic_pool
from ssal3d.predictions.table import Ragged
from tests.helpers.active_pools import unlabelled


def pool_of(features, valid=None, prefix=''):
    features = np.array(features, dtype=np.float16)
    features = features.reshape(len(features), int(np.prod(features.shape[1:])))
    pool = synthetic_pool(len(features))
    fields = {'roi_features': features}
    if valid is not None:
        valid = np.array(valid, dtype=bool)
        fields['roi_valid'] = Ragged(valid.reshape(-1), np.arange(len(valid) + 1) * valid.shape[1])
    return replace(pool, frame_ids=np.array([f'{prefix}{k:03d}' for k in range(len(pool))]), fields=fields)


def order(sampler, pool, labelled):
    labels = unlabelled(pool).buy(0, [(frame_id, {'Car': 1}) for frame_id in labelled.frame_ids.tolist()])
    query = select(sampler, pool, labels, QuerySettings(10**6), labelled=labelled)
    return [(frame.frame_id, frame.utility) for frame in query.frames]


def test_nearest_or_mean_distance_to_labelled_frames():
    pool, labelled = pool_of([5, 11, 9]), pool_of([0, 10], prefix='labelled-')
    assert order(CoreSetSampler(), pool, labelled) == [('000', 5), ('001', 1), ('002', 1)]
    mean = order(CoreSetSampler('mean'), pool, labelled)
    assert mean[0] == ('001', pytest.approx(61**0.5))
    assert [frame_id for frame_id, _ in mean[1:]] == ['000', '002']


def test_without_labelled_frames_it_begins_at_the_centre_of_the_pool():
    found = order(CoreSetSampler(), pool_of([0, 1, 2, 9]), pool_of(np.zeros((0, 1))))
    assert found == [('002', 1), ('003', 7), ('000', 2), ('001', 1)]


def test_copies_of_bought_frames_come_last():
    found = order(CoreSetSampler(), pool_of([7, 7, 3, 7, 3]), pool_of([0], prefix='labelled-'))
    assert [frame_id for frame_id, _ in found] == ['000', '002', '001', '003', '004']


@pytest.mark.parametrize('init', ['min', 'mean'])
def test_names_of_frames_do_not_matter(init):
    features = np.abs(np.random.default_rng(0).normal(size=(60, 40)))
    shuffled = np.random.default_rng(1).permutation(60)
    labelled = pool_of(features[:5] + 1, prefix='labelled-')
    plain = order(CoreSetSampler(init), pool_of(features), labelled)
    other = order(CoreSetSampler(init), pool_of(features[shuffled]), labelled)
    assert [int(frame_id) for frame_id, _ in plain] == [int(shuffled[int(frame_id)]) for frame_id, _ in other]


def test_mean_over_existing_rois_is_blind_to_their_order_and_to_padding():
    rng = np.random.default_rng(0)
    features, counts = rng.integers(0, 9, size=(12, 4, 3)), rng.integers(1, 5, size=12)
    features[np.arange(4) >= counts[:, None]] = 77  # never looked at
    valid = np.arange(4) < counts[:, None]
    expected = [rows[keep].mean(axis=0) for rows, keep in zip(features, valid)]
    assert mean_of_rois(features.reshape(12, -1).astype(np.float16), valid)[0] == pytest.approx(np.array(expected))
    labelled = pool_of(features[:1], valid[:1], 'labelled-')
    found = order(CoreSetSampler(pool='mean'), pool_of(features, valid), labelled)
    assert found == order(CoreSetSampler(pool='mean'), pool_of(features[:, ::-1], valid[:, ::-1]), labelled)


def test_frames_without_rois_come_last_and_labelled_ones_are_no_centres():
    valid = [[True], [False], [True]]
    labelled = pool_of([0, 5], [[False], [True]], 'labelled-')
    found = order(CoreSetSampler(pool='mean'), pool_of([2, 0, 1], valid), labelled)
    assert found == [('002', 4), ('000', 1), ('001', None)]


def test_mistakes_are_named():
    with pytest.raises(UserError, match='roi_features of frame 001 hold NaN or infinite'):
        order(CoreSetSampler(), pool_of([0, np.inf, 2]), pool_of([0], prefix='x'))
    with pytest.raises(UserError, match='found 2 RoI features per frame, expected 1'):
        order(CoreSetSampler(), pool_of([0, 1]), pool_of([[0, 1]], prefix='x'))
    uneven = pool_of([[0, 1], [2, 3]], [[True, True], [True, True]])
    uneven = replace(uneven, fields={**uneven.fields, 'roi_valid': Ragged(np.ones(3, bool), np.array([0, 2, 3]))})
    with pytest.raises(UserError, match='roi_valid of frame 001 has 1 values'):
        order(CoreSetSampler(pool='mean'), uneven, pool_of([[0, 1]], [[True, True]], 'x'))
    with pytest.raises(UserError, match=r"unknown value of init 'mni'.*did you mean 'min'"):
        CoreSetSampler('mni')
