import math

import numpy as np
import pytest

from ssal3d.cpsp.confidence import class_threshold, thresholds, uncertainty
from ssal3d.cpsp.settings import cpsp_settings
from tests.helpers.cpsp_builders import CLASSES

SIX_SCORES = np.array([0.10, 0.12, 0.50, 0.52, 0.90, 0.92], np.float32)


def test_worked_example_top_centroid():
    tau = class_threshold(SIX_SCORES, 3, cpsp_settings())
    assert tau == pytest.approx(0.91)
    scores = SIX_SCORES
    assert scores[scores >= tau].tolist() == [np.float32(0.92)]


def test_worked_example_top_cluster():
    tau = class_threshold(SIX_SCORES, 3, cpsp_settings(select='top_cluster'))
    scores = SIX_SCORES
    assert scores[scores >= tau].tolist() == [np.float32(0.90), np.float32(0.92)]


@pytest.mark.parametrize('select', ['top_centroid', 'top_cluster'])
@pytest.mark.parametrize('scores', [[0.3], [0.3, 0.7], [0.9, 0.9, 0.9], [0.1] * 5 + [0.7, 0.7]])
def test_fewer_scores_than_clusters(scores, select):
    """With a cluster per distinct score the best score itself is the threshold, whatever the rounding of means."""
    scores = np.array(scores, np.float32)
    assert class_threshold(scores, 30, cpsp_settings(select=select)) == float(scores.max())


def test_no_score_keeps_the_previous_threshold_or_nothing_is_confident():
    empty = np.empty(0, np.float32), np.empty(0, np.int16)
    assert thresholds(*empty, CLASSES, cpsp_settings()) == dict.fromkeys(CLASSES, math.inf)
    previous = {'Car': 0.8, 'Pedestrian': 0.7}
    expected = {'Car': 0.8, 'Pedestrian': 0.7, 'Cyclist': math.inf}
    assert thresholds(*empty, CLASSES, cpsp_settings(), previous=previous) == expected


def test_missing_class_does_not_shift_the_others():
    scores, labels = np.array([0.9, 0.4], np.float32), np.array([0, 2])
    tau = thresholds(scores, labels, CLASSES, cpsp_settings(k_first=1), previous=None)
    assert tau == {'Car': pytest.approx(0.9), 'Pedestrian': math.inf, 'Cyclist': pytest.approx(0.4)}


def test_entropy_guard_low_scores_are_never_certain():
    scores = np.array([0.10] * 50 + [0.90] * 5, np.float32)
    for select in ('top_centroid', 'top_cluster'):
        tau = class_threshold(scores, 20, cpsp_settings(measure='entropy', select=select))
        assert scores[scores >= tau].tolist() == [np.float32(0.9)] * 5
    assert class_threshold(np.full(9, 0.1, np.float32), 3, cpsp_settings(measure='entropy')) is None


def test_entropy_centroid_is_a_mean_entropy():
    scores = np.array([0.55, 0.56, 0.90, 0.98], np.float32)
    tau = class_threshold(scores, 2, cpsp_settings(measure='entropy'))
    entropy = [-p * np.log2(p) - (1 - p) * np.log2(1 - p) for p in (0.90, 0.98, tau)]
    assert entropy[2] == pytest.approx((entropy[0] + entropy[1]) / 2, abs=1e-6)
    assert 0.90 < tau < 0.98


def test_top_cluster_is_the_best_partition_of_random_scores():
    """K-means on a line against the exact optimum of all contiguous partitions into two."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = np.sort(rng.random(30)).astype(np.float32).astype(float)
        costs = [scores[:i].var() * i + scores[i:].var() * (30 - i) for i in range(1, 30)]
        expected = scores[1 + int(np.argmin(costs))]
        assert class_threshold(scores, 2, cpsp_settings(select='top_cluster')) == expected


def test_threshold_depends_on_the_set_of_scores_only():
    rng = np.random.default_rng(1)
    scores, labels = rng.random(900).astype(np.float32), rng.integers(0, 3, 900)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    tau = thresholds(scores, labels, CLASSES, cpsp_settings())
    for order in (rng.permutation(900), rng.permutation(900)):
        assert thresholds(scores[order], labels[order], CLASSES, cpsp_settings()) == tau
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    assert all(0.9 < value < 1 for value in tau.values())


def test_first_and_next_number_of_clusters():
    scores, labels = np.linspace(0, 1, 60).astype(np.float32), np.zeros(60, int)
    settings = cpsp_settings(k_first=30, k_next=3, select='top_cluster')
    first = thresholds(scores, labels, ['Car'], settings)['Car']
    later = thresholds(scores, labels, ['Car'], settings, previous={'Car': 0.5})['Car']
    assert (scores >= later).sum() == 20
    assert (scores >= first).sum() < 5


def test_only_stable_scores_take_part():
    scores, labels = np.array([0.3, 0.4, 0.99], np.float32), np.zeros(3, int)
    stable = np.array([True, True, False])
    tau = thresholds(scores, labels, ['Car'], cpsp_settings(), stable, previous={'Car': 0.9})
    assert tau['Car'] == pytest.approx(0.4)
    nothing = thresholds(scores, labels, ['Car'], cpsp_settings(), np.zeros(3, bool), previous={'Car': 0.77})
    assert nothing['Car'] == 0.77


@pytest.mark.parametrize('measure', ['score', 'entropy'])
def test_uncertainty_decreases_with_the_score(measure):
    values = uncertainty(np.linspace(0, 1, 1001), measure)
    assert (np.diff(values) < 0).all()
    assert values[-1] == pytest.approx(0, abs=1e-4)
