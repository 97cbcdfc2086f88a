"""The additive selection picks what fitting every density estimate anew picks."""

import numpy as np
import pytest
from scipy.stats import entropy, uniform
from sklearn.neighbors import KernelDensity

from ssal3d.active.functional.density_balance import DensityBalance, point_densities, uniform_prior

BANDWIDTH = 5


def flat(frames):
    """Densities, labels and offsets of frames that are lists of ``(label, density)``."""
    boxes = [box for frame in frames for box in frame]
    labels = np.array([label for label, _ in boxes], dtype=np.int16)
    return np.array([density for _, density in boxes], float), labels, np.cumsum([0] + [len(frame) for frame in frames])


def released_divergence(values, everything, alpha=0.95):
    """KL divergence in nats with scikit-learn and SciPy, as the released code writes it."""
    ordered = sorted(everything)
    high, low = int(ordered[int(alpha * len(ordered))]), int(ordered[-int(alpha * len(ordered))])
    grid = np.linspace(-50, int(ordered[-1]) + 50, 400)
    estimate = KernelDensity(kernel='gaussian', bandwidth=BANDWIDTH).fit(np.array(values)[:, None])
    return entropy(uniform.pdf(grid, low, high - low), np.exp(estimate.score_samples(grid[:, None])))


def brute_force(frames, candidates, start, classes):
    chosen, left = [], list(candidates)
    while left:
        utilities = []
        for frame in left:
            terms = []
            for label in classes:
                everything = [density for other in frames for kind, density in other if kind == label]
                if not any(kind == label for kind, _ in frames[frame]):
                    terms.append(0)
                    continue
                of_class = [d for f in [*(pick for pick, _ in chosen), frame] for kind, d in frames[f] if kind == label]
                kl = released_divergence(of_class, everything)
                terms.append(1 - 2 / np.pi * np.arctan(np.pi / 2 * kl))
            utilities.append(np.mean(terms))
        best = candidates.index(start) if not chosen and start is not None else int(np.argmax(utilities))
        chosen.append((left.pop(best), utilities[best]))
    return chosen


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('start', [None, 9])
def test_same_picks_as_density_estimates_fitted_anew(seed, start):
    rng = np.random.default_rng(seed)
    frames = [
        [(label, rng.uniform(0, [60, 25][label])) for label in rng.choice(2, rng.integers(0, 7), p=[0.8, 0.2])]
        for _ in range(30)
    ]
    candidates = list(range(0, 24, 3))
    expected = brute_force(frames, candidates, start, range(2))
    balance = DensityBalance(*flat(frames), bandwidth=BANDWIDTH)
    found = list(balance.greedy(np.array(candidates), None if start is None else candidates.index(start)))
    assert [frame for frame, _ in found] == [frame for frame, _ in expected]
    np.testing.assert_allclose([u for _, u in found], [u for _, u in expected], atol=1e-9)


FILLER = [(0, 0.0)] * 40 + [(0, 100.0)] * 40  # makes the prior U[0, 100] on the grid [-50, 150]
TOY = [FILLER, [(0, 50)], [(0, 10), (0, 90)], [(0, 10), (0, 30), (0, 50), (0, 70), (0, 90)]]


def test_toy_of_the_specification():
    first = {frame: next(DensityBalance(*flat(TOY)).greedy(np.array([frame])))[1] for frame in (1, 2, 3)}
    assert [round(1 - first[frame], 3) for frame in (1, 2, 3)] == [0.972, 0.944, 0.117]
    divergences = [np.tan(np.pi / 2 * (1 - first[frame])) * 2 / np.pi for frame in (1, 2, 3)]
    np.testing.assert_allclose(divergences, [14.67, 7.26, 0.118], rtol=3e-3)
    assert next(DensityBalance(*flat(TOY)).greedy(np.array([1, 2, 3])))[0] == 3
    assert next(DensityBalance(*flat(TOY)).greedy(np.array([1, 2, 3]), start=1))[0] == 2


def test_a_second_call_goes_on_with_the_selection():
    frames = [FILLER, [(0, 10), (0, 30)], [(0, 20), (0, 25)], [(0, 70), (0, 90)]]
    balance = DensityBalance(*flat(frames))
    assert [frame for frame, _ in balance.greedy(np.array([1]))] == [1]
    assert [frame for frame, _ in balance.greedy(np.array([2, 3]))] == [3, 2]
    assert list(balance.greedy(np.array([], dtype=int))) == []


@pytest.mark.parametrize('seed', range(5))
def test_a_frame_without_a_class_never_beats_the_same_frame_with_it(seed):
    rng = np.random.default_rng(seed)
    pool = [[(k % 2, rng.uniform(0, 900)) for k in range(rng.integers(1, 9))] for _ in range(12)]
    cars = [(0, rng.uniform(0, 900)) for _ in range(3)]
    balance = DensityBalance(*flat([*pool, cars, [*cars, (1, rng.uniform(0, 900))]]))
    for _ in balance.greedy(np.arange(int(rng.integers(0, 12)))):
        pass
    assert [frame for frame, _ in balance.greedy(np.array([12, 13]))] == [13, 12]


def test_ties_go_to_the_first_candidate_and_absent_classes_do_not_count():
    frames = [FILLER, [(0, 30)], [(0, 30)], [], []]
    densities, labels, offsets = flat(frames)
    found = list(DensityBalance(densities, labels, offsets).greedy(np.arange(1, 5)))
    assert [frame for frame, _ in found] == [1, 2, 3, 4]
    assert found[0][1] == found[1][1] > 0 == found[2][1]
    as_other_class = DensityBalance(densities, labels + 3, offsets).greedy(np.arange(1, 5))
    assert list(as_other_class) == found


@pytest.mark.parametrize(('alpha', 'low', 'high'), [(0.95, 5, 95), (0.5, 50, 50), (1, 0, 99)])
def test_prior_ends_at_the_quantiles(alpha, low, high):
    prior = uniform_prior(np.arange(100) + 0.7, alpha)
    inside = prior.grid[prior.support]
    assert (prior.grid[0], prior.grid[-1], len(prior.grid)) == (-50, 149, 400)
    assert inside[0] >= low - 0.5
    assert inside[-1] <= high + 0.5
    assert prior.points == max(np.sum((prior.grid >= low) & (prior.grid <= high)), 1)


@pytest.mark.parametrize('densities', [[7.0], [7.0, 7.0], [3.0, 900.0], [0.0] * 5, [2.0] * 30 + [1e9]])
def test_degenerate_priors_and_far_densities_stay_finite(densities):
    assert uniform_prior(np.array(densities)).points >= 1
    frames = [[(0, density)] for density in densities]
    utilities = [utility for _, utility in DensityBalance(*flat(frames)).greedy(np.arange(len(frames)))]
    assert len(utilities) == len(densities)
    assert np.isfinite(utilities).all()
    assert min(utilities) >= 0


def test_candidates_are_told_apart_where_released_sums_underflow():
    """All of them are far from the upper end: exp underflows, and the released divergence is infinite."""
    frames = [[(0, k * 100.0) for k in range(21)] * 3, [(0, 10)], [(0, 10), (0, 300)], [(0, 10), (0, 300), (0, 900)]]
    with np.errstate(divide='ignore'):
        assert released_divergence([10, 300, 900], [density for frame in frames for _, density in frame]) == np.inf
    assert next(DensityBalance(*flat(frames)).greedy(np.array([1, 2, 3])))[0] == 3


def test_boxes_without_a_volume_have_a_density():
    boxes = np.array([[0, 0, 0, 2, 1, 1, 0], [0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1, 0]], dtype=np.float32)
    assert point_densities(boxes, np.array([30, 0, 0])).tolist() == [15, 0, 0]
    assert np.isfinite(point_densities(boxes, np.array([30, 7, 0]))).all()
