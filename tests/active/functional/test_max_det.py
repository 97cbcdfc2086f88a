import itertools
import random

import numpy as np
import pytest

from ssal3d.active.functional.max_det import max_det_order


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
