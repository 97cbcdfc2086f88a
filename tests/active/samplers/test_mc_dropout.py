"""Monte-Carlo dropout: examples computed by hand, and a slow copy."""

from dataclasses import replace

import numpy as np
import pytest

from ssal3d.active import QuerySettings, select
from ssal3d.active.functional.uncertainty import binary_entropy
from ssal3d.active.samplers import MCDropoutSampler
from ssal3d.active.samplers.mc_dropout import mutual_information, pass_variance
from ssal3d.errors import UserError
from ssal3d.predictions.synthetic import synthetic_pool
from ssal3d.predictions.table import Ragged
from tests.helpers.active_pools import unlabelled

COLUMNS = ('mc_scores', 'mc_residuals')


def ragged_pool(rois=(3, 0, 5, 3), passes=4):
    rng = np.random.default_rng(0)
    pool = synthetic_pool(len(rois), fields=COLUMNS)
    scores = [rng.random((passes, count)).astype(np.float32) for count in rois]
    residuals = [rng.normal(size=(passes, count, 7)).astype(np.float32) for count in rois]
    fields = {name: as_ragged(values) for name, values in zip(COLUMNS, (scores, residuals))}
    return replace(pool, fields=fields, metadata={'mc_passes': passes}), scores, residuals


def as_ragged(rows):
    return Ragged(np.concatenate([row.ravel() for row in rows]), np.cumsum([0] + [row.size for row in rows]))


def test_variance_of_one_score():
    assert pass_variance(np.array([0.2, 0.4, 0.6, 0.8, 1.0])) == pytest.approx(0.1)
    assert pass_variance(np.full(5, 0.3)) == pytest.approx(0)
    with pytest.raises(ValueError, match='at least 2'):
        pass_variance(np.array([[0.5]]))


def test_equal_passes_tell_nothing():
    assert mutual_information(np.full((5, 3), 0.7)) == pytest.approx(0)
    assert mutual_information(np.array([[0.0], [1.0]])) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize('mode', ['var_sum', 'reg', 'mi'])
def test_each_frame_by_its_own_rois(mode):
    pool, scores, residuals = ragged_pool()
    expected = {}
    for frame_id, s, r in zip(pool.frame_ids.tolist(), scores, residuals):
        if not s.size:
            expected[frame_id] = None
            continue
        var_s, var_r = s.astype(float).var(0, ddof=1).mean(), r.astype(float).var(0, ddof=1).mean()
        mi = np.mean([binary_entropy(c.mean()) - binary_entropy(c).mean() for c in s.astype(float).T])
        expected[frame_id] = {'var_sum': var_s + var_r, 'reg': var_r, 'mi': mi}[mode]
    query = select(MCDropoutSampler(mode), pool, unlabelled(pool), QuerySettings(10**6))
    found = {frame.frame_id: frame.utility for frame in query.frames}
    assert found == pytest.approx(expected)
    assert list(found)[-1] == pool.frame_ids[1]
    ranked = list(found.values())[:-1]
    assert ranked == sorted(ranked, reverse=True)


@pytest.mark.parametrize('mode', ['var_sum', 'reg', 'mi'])
def test_padded_rois_do_not_count(mode):
    pool, scores, residuals = ragged_pool()
    padded = [np.full((4, 6, 8), 777, np.float32) for _ in scores]
    for rows, own, own_residuals in zip(padded, scores, residuals):
        rows[:, : own.shape[1], 0], rows[:, : own.shape[1], 1:] = own, own_residuals
    valid = np.concatenate([np.arange(6) < own.shape[1] for own in scores])
    fields = {
        'mc_scores': as_ragged([rows[..., 0] for rows in padded]),
        'mc_residuals': as_ragged([rows[..., 1:] for rows in padded]),
        'roi_valid': Ragged(valid, np.arange(5) * 6),
    }
    mi_fields = {**fields, 'mc_scores': as_ragged([np.clip(rows[..., 0], 0, 1) for rows in padded])}
    wide = replace(pool, fields=mi_fields if mode == 'mi' else fields)
    slim = replace(pool, fields={**pool.fields, 'roi_valid': fields['roi_valid']})  # padding for features alone
    expected = select(MCDropoutSampler(mode), pool, unlabelled(pool), QuerySettings(10**6))
    for other in (wide, slim):
        found = select(MCDropoutSampler(mode), other, unlabelled(pool), QuerySettings(10**6))
        assert [frame.utility for frame in found.frames] == [frame.utility for frame in expected.frames]
    wrong = replace(wide, fields={**wide.fields, 'roi_valid': Ragged(valid[:20], np.arange(5) * 5)})
    with pytest.raises(UserError, match=r'has mc_.* of 6 RoIs, but roi_valid of 5'):
        select(MCDropoutSampler(mode), wrong, unlabelled(pool), QuerySettings(1))


def test_too_few_passes_are_refused():
    pool, *_ = ragged_pool()
    with pytest.raises(UserError, match='found mc_passes 1 in the metadata, expected at least 2'):
        select(MCDropoutSampler(), replace(pool, metadata={'mc_passes': 1}), unlabelled(pool), QuerySettings(1))
    with pytest.raises(UserError, match='expected a multiple of 21'):
        select(MCDropoutSampler(), replace(pool, metadata={'mc_passes': 3}), unlabelled(pool), QuerySettings(1))
    with pytest.raises(UserError, match='passes: found 1'):
        MCDropoutSampler(passes=1)
