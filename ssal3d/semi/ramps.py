"""Weights that change over a run."""

import math

from ssal3d.errors import UserError

# Iterations of NAL's schedule (arXiv 2106.11921): end of the rise, begin and length of the fall, end of the run.
_RISE, _FALL_FROM, _FALL, _RUN = 32_000, 100_000, 20_000, 120_000


def nal_ramp(t: float, total: float) -> float:
    """Return NAL's weight of the consistency loss: a Gaussian rise, a plateau of 1, a Gaussian fall.

    Args:
        t: Finished iterations; beyond ``total`` the last weight holds.
        total: Iterations of the run; the original breakpoints are scaled to it.

    Returns:
        Weight in [0, 1], exactly 0 at t = 0.

    Raises:
        UserError: If ``total`` is not positive.

    >>> [round(nal_ramp(t, 120000), 4) for t in (0, 16000, 32000, 100000, 110000)]
    [0.0, 0.2865, 1.0, 1.0, 0.0439]
    """
    _check(total)
    t = min(t * (_RUN / total), _RUN)
    if t <= 0:
        return 0.0
    if t < _RISE:
        return math.exp(-5 * (1 - t / _RISE) ** 2)
    if t <= _FALL_FROM:
        return 1.0
    return math.exp(-12.5 * (1 - (_RUN - t) / _FALL) ** 2)


def linear_ramp(t: float, total: float, share: float = 0.2) -> float:
    """Return a weight that rises from 0 to 1 over the first part of a run and stays there.

    Args:
        t: Finished iterations.
        total: Iterations of the run.
        share: Part of the run that the rise takes, in [0, 1]; 0 for no ramp.

    Raises:
        UserError: If ``total`` is not positive or ``share`` outside [0, 1].

    >>> [linear_ramp(t, 1000) for t in (0, 50, 200, 700)]
    [0.0, 0.25, 1.0, 1.0]
    """
    _check(total)
    if not 0 <= share <= 1:
        raise UserError(f'ramp: found share {share}, expected a part of the run in [0, 1]')
    return min(max(t, 0) / (share * total), 1.0) if share else 1.0


def _check(total: float) -> None:
    if not total > 0:
        raise UserError(f'ramp: found a run of {total} iterations, expected more than 0')
