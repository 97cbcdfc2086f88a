"""Entropy selection: examples computed by hand."""

import numpy as np
import pytest

from ssal3d.active import QuerySettings, select
from ssal3d.active.functional.uncertainty import softmax_entropy
from ssal3d.active.samplers import EntropySampler
from tests.helpers.active_pools import box, make_pool, unlabelled


def utilities(pool, **options):
    query = select(EntropySampler(**options), pool, unlabelled(pool), QuerySettings(10**6))
    return {frame.frame_id: frame.utility for frame in query.frames}


def test_mean_of_a_frames_boxes():
    pool = make_pool(
        {
            'a': [box(score=0.5, logits=[0, 0, 0]), box(score=0.8, logits=[2, 0, 0])],
            'b': [box(score=0.9, logits=[2, 0, 0])],
            'c': [],
        }
    )
    assert utilities(pool) == pytest.approx({'a': (1 + 0.72193) / 2, 'b': 0.46900, 'c': None}, abs=1e-5)
    softmax = utilities(pool, source='softmax_rpn')
    assert softmax['a'] == pytest.approx((1.0986 + 0.6656) / 2, abs=1e-4)
    assert softmax['b'] == pytest.approx(0.6656, abs=1e-4)


def test_what_all_logits_share_does_not_matter():
    logits = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(softmax_entropy(logits), softmax_entropy(logits + 7))


def test_probabilities_turned_back_into_logits_keep_the_entropy():
    """MMDetection3D hands over sigmoid probabilities; their softmax would rank differently."""
    probabilities = 1 / (1 + np.exp(-np.array([[2.0, 0, 0]])))
    logits = np.log(probabilities / (1 - probabilities))
    assert softmax_entropy(logits)[0] == pytest.approx(0.6656, abs=1e-4)
    assert softmax_entropy(probabilities)[0] > 1
