"""Log-determinant information and its lazy greedy, against full determinants and an eager greedy."""

import numpy as np
import pytest

from ssal3d.active.functional.diversity import unit_rows
from ssal3d.active.functional.information import (
    Information,
    class_weights,
    lazy_greedy,
    leading_directions,
    project,
)


def random_information(seed, frames=30, width=5, mean=6, sigma=0.5):
    """Frames of random features; with 6 boxes of 5 values both ways to take the determinant occur."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate(([0], np.cumsum(rng.poisson(mean, frames))))
    rows = unit_rows(rng.normal(0, 1, (offsets[-1], width)))
    worth, labels = rng.random(offsets[-1]), rng.integers(0, 3, offsets[-1])
    return Information(rows, worth, labels, offsets, 3, sigma), rows.astype(float), worth, offsets


def test_worked_example():
    """Box of worth 1 at sigma 0.5: M = 5 along it, 1/2 ln 5; a copy 1/2 ln (9/5); one at a right angle as the first."""
    rows = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    information = Information(rows, np.ones(3), np.zeros(3, dtype=int), np.arange(4), 1, 0.5)
    assert information.gains(np.arange(3)) == pytest.approx([0.5 * np.log(5)] * 3)
    information.add_frame(0)
    assert information.gains(np.arange(3)) == pytest.approx([0.5 * np.log(9 / 5)] * 2 + [0.5 * np.log(5)])
    assert information.value == pytest.approx(0.5 * np.log(5))


@pytest.mark.parametrize('seed', range(4))
def test_gains_are_differences_of_full_determinants(seed):
    information, rows, worth, offsets = random_information(seed)
    frames = np.arange(30)
    total = np.eye(5)
    for bought in (3, 8, 3, 21, 14):  # a frame may even be bought twice
        before = np.linalg.slogdet(total)[1] / 2
        expected = []
        for frame in frames:
            own = slice(offsets[frame], offsets[frame + 1])
            expected.append(np.linalg.slogdet(total + 4 * (rows[own].T * worth[own]) @ rows[own])[1] / 2 - before)
        np.testing.assert_allclose(information.gains(frames), expected, atol=1e-8)
        assert information.value == pytest.approx(before)
        own = slice(offsets[bought], offsets[bought + 1])
        total += 4 * (rows[own].T * worth[own]) @ rows[own]
        information.add_frame(bought)


def test_information_is_monotone_with_diminishing_returns():
    information = random_information(5, frames=300)[0]  # more frames than one chunk
    frames, last = np.arange(300), np.full(300, np.inf)
    for bought in (7, 250, 90):
        gains = information.gains(frames)
        assert (gains >= 0).all()
        assert (gains <= last).all()
        assert gains[::-1].tolist() == information.gains(frames[::-1]).tolist()
        information.add_frame(bought)
        information.weights *= 0.9
        last = gains


@pytest.mark.parametrize('seed', range(5))
def test_lazy_greedy_is_the_eager_one_and_looks_less_often(seed):
    """Coverage of random sets, an integer-valued submodular function full of ties."""
    rng = np.random.default_rng(seed)
    sets = rng.random((200, 60)) < rng.beta(1, 9, (200, 1))
    covered, looked = np.zeros(60, dtype=bool), []

    def values(items):
        looked.extend(items)
        return (sets[items] & ~covered).sum(axis=1).astype(float)

    order = []
    for item, value in lazy_greedy(values, np.arange(200)):
        now = (sets & ~covered).sum(axis=1)
        now[order] = -1
        assert (item, value) == (now.argmax(), now.max())
        order.append(item)
        covered |= sets[item]
    assert sorted(order) == list(range(200))
    assert len(looked) < 0.25 * 200 * 200
    assert list(lazy_greedy(values, np.arange(0))) == []


def test_leading_directions_are_principal_components():
    rng = np.random.default_rng(0)
    features = (rng.normal(0, 1, (500, 3)) @ rng.normal(0, 1, (3, 12)) + 0.01 * rng.normal(0, 1, (500, 12))).astype(
        'f2'
    )
    directions = leading_directions(features, 3)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    reference = np.linalg.svd(unit_rows(features).astype(float))[2][:3].T
    np.testing.assert_allclose(np.abs((reference * directions).sum(axis=0)), 1, atol=1e-4)
    assert (directions[np.abs(directions).argmax(axis=0), np.arange(3)] > 0).all()
    rows = project(features, directions)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows @ rows.T, unit_rows(features) @ unit_rows(features).T, atol=0.01)
    assert leading_directions(features, 12).tolist() == np.eye(12).tolist()
    assert project(features[:0], directions).shape == (0, 3)


def test_class_weights_start_at_one_and_only_shrink():
    start = np.array([99, 0, 24])
    assert class_weights(start, start, 0.5).tolist() == [0.1, 1.0, 0.2]
    assert class_weights(start, start, 0).tolist() == [1, 1, 1]
    later = np.array([100, 99, 24])
    assert class_weights(later, start, 1).tolist() == pytest.approx([1 / 101, 0.01, 0.04])
