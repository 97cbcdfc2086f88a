"""What a few seeds can say: intervals, paired differences, the number of seeds that a question needs.

Runs with the same seed share pool, first labels, initial weights and order of samples, so rows are compared within
seeds.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ssal3d.errors import UserError

MOST_SEEDS = 1_000_000  # more are not counted
ROUNDING = 1e-9  # relative; differences of numbers that were computed alike may differ by as much


class Interval(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
        mean: Mean over the seeds.
        low: Lower end; NaN with fewer than two seeds.
        high: Upper end; NaN with fewer than two seeds.
        seeds: Number of seeds.
    """

    mean: float
    low: float
    high: float
    seeds: int


class Comparison(NamedTuple):
    """A paired difference between two rows.

    Attributes:
        difference: Mean difference, with its interval.
        p: Two-sided p value of the paired t test; NaN with fewer than two seeds.
        adjusted: p value after Holm's correction over all comparisons of the same call.
        seeds_needed: Seeds that would show a difference of this size with 80 % power at 5 %; NaN if it cannot be said.
    """

    difference: Interval
    p: float
    adjusted: float
    seeds_needed: float


def interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the mean and Student's t interval of values of several seeds.

    Args:
        values: ``(S,)``, S ≥ 1.
        confidence: In (0, 1).

    >>> tuple(round(value, 3) for value in interval([1.0, 2.0, 3.0]))  # 2 ± 4.303 / sqrt(3)
    (2.0, -0.484, 4.484, 3)
    """
    from scipy import stats

    values = np.asarray(values, np.float64)
    if not len(values):
        raise UserError('found no seed to average, expected at least one')
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, float('nan'), float('nan'), len(values))
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half, len(values))


def compare(pairs: Sequence[tuple[ArrayLike, ArrayLike]]) -> list[Comparison]:
    """Compare rows seed by seed: paired t tests, corrected together (Holm 1979).

    Args:
        pairs: ``((S,), (S,))`` values of two rows over the same seeds; positive differences favour the first.

    Raises:
        UserError: If two rows have different numbers of seeds.
    """
    differences = [
        _difference(np.asarray(first, np.float64), np.asarray(second, np.float64)) for first, second in pairs
    ]
    p = np.array([_paired_p(values) for values in differences])
    adjusted = np.full(len(p), np.nan)
    if (defined := np.isfinite(p)).any():
        from statsmodels.stats.multitest import multipletests

        adjusted[defined] = multipletests(p[defined], method='holm')[1]
    return [
        Comparison(interval(values), float(raw), float(corrected), seeds_needed(values.mean(), values))
        for values, raw, corrected in zip(differences, p, adjusted)
    ]


def _difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    if first.shape != second.shape:
        raise UserError(f'found {len(first)} and {len(second)} seeds to compare, expected the same ones')
    return first - second


def _spread(differences: NDArray[np.float64]) -> float:
    """Return the standard deviation; 0 with one seed, and where differences are equal but for rounding errors."""
    if len(differences) < 2 or np.ptp(differences) <= ROUNDING * np.abs(differences).max():
        return 0.0
    return float(differences.std(ddof=1))


def _paired_p(differences: NDArray[np.float64]) -> float:
    from scipy import stats

    if not _spread(differences):
        return float('nan')
    return float(stats.ttest_1samp(differences, 0).pvalue)


def seeds_needed(difference: float, differences: ArrayLike, power: float = 0.8, level: float = 0.05) -> float:
    """Return how many seeds a paired t test needs to see a difference.

    Args:
        difference: Size of the difference to see.
        differences: ``(S,)`` paired differences, for their spread.
        power: Probability of seeing it.
        level: Of the two-sided test.

    Returns:
        A whole number, or NaN with fewer than two seeds, without spread, with a difference of 0 or where a million
        seeds were not enough.
    """
    from statsmodels.stats.power import TTestPower

    spread = _spread(np.asarray(differences, np.float64))
    if not spread or not difference or not np.isfinite(difference / spread):
        return float('nan')
    effect = abs(difference) / spread
    # A search, because statsmodels' root finder does not converge where two or three seeds are enough, and the one tail
    # that counts, because SciPy gives NaN for the other one at large effects.
    numbers, test = range(2, MOST_SEEDS), TTestPower()
    place = bisect_left(numbers, power, key=lambda count: test.power(effect, count, level / 2, alternative='larger'))
    return float(numbers[place]) if place < len(numbers) else float('nan')


def mixed_model(
    columns: Mapping[str, Sequence[Any]], formula: str, groups: str = 'seed'
) -> dict[str, tuple[float, float]]:
    """Fit a linear mixed model with a random level per seed, and return its fixed effects.

    Args:
        columns: Values by column, e.g. ``value``, ``pretrain``, ``sampler``, ``final``, ``seed``.
        formula: Fixed effects, e.g. ``'value ~ C(pretrain) + C(sampler) + C(final)'``.
        groups: Column of the random level.

    Returns:
        Effect and standard error by term.
    """
    import pandas
    from statsmodels.formula.api import mixedlm

    table = pandas.DataFrame({name: list(values) for name, values in columns.items()})
    fitted = mixedlm(formula, table, groups=table[groups]).fit(reml=True)
    return {name: (float(fitted.fe_params[name]), float(fitted.bse_fe[name])) for name in fitted.fe_params.index}
