"""Intervals, paired tests and numbers of seeds, against tables and another implementation."""

import numpy as np
import pytest
from scipy import stats

from ssal3d.errors import UserError
from ssal3d.reproduce import compare, interval, mixed_model, seeds_needed


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(0).normal(50, 3, 8)
    low, high = stats.t.interval(0.95, 7, values.mean(), stats.sem(values))
    found = interval(values)
    np.testing.assert_allclose(found[:3], (values.mean(), low, high))
    assert found.seeds == 8


def test_one_seed_has_no_interval_and_none_is_an_error():
    assert np.isnan(interval([51.0]).low)
    assert interval([51.0]).mean == 51.0
    with pytest.raises(UserError, match='found no seed'):
        interval([])


def test_pairs_are_tested_within_seeds_and_corrected_together():
    rng = np.random.default_rng(1)
    pool = rng.normal(50, 10, 6)  # what a seed does to all rows
    rows = [pool + shift + rng.normal(0, 1, 6) for shift in (0, 2, 3)]
    found = compare([(rows[1], rows[0]), (rows[2], rows[0]), (rows[2], rows[1])])
    raw = [stats.ttest_rel(a, b).pvalue for a, b in ((rows[1], rows[0]), (rows[2], rows[0]), (rows[2], rows[1]))]
    np.testing.assert_allclose([comparison.p for comparison in found], raw)
    order = np.argsort(raw)
    holm = np.maximum.accumulate(np.minimum(1, np.array(raw)[order] * (3, 2, 1)))
    np.testing.assert_allclose([found[place].adjusted for place in order], holm)
    assert found[1].p < 0.01 < stats.ttest_ind(rows[2], rows[0]).pvalue


def test_a_single_pair_of_runs_proves_nothing():
    (found,) = compare([([51.0], [49.0])])
    assert found.difference.mean == 2
    assert np.isnan(found.p)
    assert np.isnan(found.adjusted)
    assert np.isnan(found.seeds_needed)


@pytest.mark.parametrize(
    ('spread', 'difference', 'seeds'), [(1.5, 2, 7), (2.5, 2, 15), (2.5, 5, 5), (4.0, 3, 16), (1.0, 6, 3)]
)
def test_the_number_of_seeds_is_that_of_the_power_of_the_t_test(spread, difference, seeds):
    values = np.array([-spread, spread]) / np.sqrt(2) + difference  # standard deviation `spread`
    assert seeds_needed(difference, values) == seeds

    def power(count):
        shift = difference / spread * np.sqrt(count)
        limit = stats.t.ppf(0.975, count - 1)
        other_tail = stats.nct.cdf(-limit, count - 1, shift)  # NaN where it is next to nothing
        return stats.nct.sf(limit, count - 1, shift) + np.nan_to_num(other_tail)

    assert power(seeds) >= 0.8 > power(seeds - 1)


def test_no_number_of_seeds_sees_almost_nothing():
    assert np.isnan(seeds_needed(1e-4, [-1.0, 1.0002]))


def test_a_mixed_model_finds_the_effects_beneath_the_levels_of_seeds():
    rng = np.random.default_rng(2)
    columns = {'value': [], 'pretrain': [], 'final': [], 'seed': []}
    for seed, level in enumerate(rng.normal(50, 8, 12)):
        for pretrain in ('Normal', 'CPSP'):
            for final in ('supervised', 'CPSP'):
                columns['value'].append(level + 2 * (pretrain == 'CPSP') + 5 * (final == 'CPSP') + rng.normal(0, 0.5))
                columns['pretrain'].append(pretrain)
                columns['final'].append(final)
                columns['seed'].append(seed)
    effects = mixed_model(columns, "value ~ C(pretrain, Treatment('Normal')) + C(final, Treatment('supervised'))")
    found = [value for name, value in effects.items() if name != 'Intercept']
    for (effect, error), expected in zip(found, (2, 5)):
        assert abs(effect - expected) < 4 * error < 1


def test_equal_differences_have_no_p_and_need_no_seeds_whatever_floats_say():
    same = compare([([1.1, 2.2, 3.3], [0.1, 1.2, 2.3])])[0]  # all 1, but for rounding errors
    assert (np.isnan(same.p), np.isnan(same.seeds_needed)) == (True, True)
    assert np.isnan(seeds_needed(float('nan'), [1.0, float('nan')]))
    with pytest.raises(UserError, match='found 2 and 1 seeds to compare'):
        compare([([1.0, 2.0], [1.0])])
