"""Monte-Carlo dropout: frames on which passes with different dropout masks disagree."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.uncertainty import binary_entropy
from ssal3d.active.ranking import RankingSampler
from ssal3d.active.sampler import QueryContext
from ssal3d.errors import UserError
from ssal3d.options import check_range, one_of
from ssal3d.predictions import PoolPredictions
from ssal3d.predictions.table import Ragged
from ssal3d.registry import ACTIVE_SAMPLERS

RESIDUALS = 7
MODES = ('var_sum', 'reg', 'mi')


def pass_variance(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the unbiased variance over the first axis of ``(M, ...)`` values of M passes.

    Raises:
        ValueError: With fewer than two passes.

    >>> float(pass_variance(np.array([0.2, 0.4, 0.6, 0.8, 1.0])).round(12))
    0.1
    """
    if len(values) < 2:
        raise ValueError(f'found {len(values)} passes, expected at least 2: one pass has no variance')
    return np.asarray(values, dtype=np.float64).var(axis=0, ddof=1)


def mutual_information(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ``H2(mean p) - mean H2(p)`` in bits over the first axis of ``(M, ...)`` probabilities: BALD.

    >>> mutual_information(np.array([[0.0, 0.5], [1.0, 0.5]])).round(4).tolist()
    [1.0, 0.0]
    """
    scores = np.asarray(scores, dtype=np.float64)
    return np.maximum(binary_entropy(scores.mean(axis=0)) - binary_entropy(scores).mean(axis=0), 0)


@ACTIVE_SAMPLERS.register_module()
class MCDropoutSampler(RankingSampler):
    """Buys the frames on whose RoIs Monte-Carlo dropout passes disagree most.

    Scores are those of a frame's own, existing RoIs; the CRB code scores all frames of a batch alike. Where the passes
    of padded RoIs were written, ``roi_valid`` says which RoIs exist.

    Args:
        mode: ``'var_sum'``: mean variance of scores plus that of encoded residuals (CRB code); ``'reg'``: of residuals
            alone (MC-REG of the CRB paper); ``'mi'``: mutual information of scores (MC-MI).
        passes: Passes M that the detector makes; predictions from files say themselves how many they hold.
    """

    optional_fields = ('roi_valid',)

    def __init__(self, mode: str = 'var_sum', passes: int = 5) -> None:
        self.mode = one_of('mode', mode, MODES)
        self.passes = int(check_range('passes', passes, low=2))
        self.required_fields = {
            'var_sum': ('mc_scores', 'mc_residuals'),
            'reg': ('mc_residuals',),
            'mi': ('mc_scores',),
        }[mode]

    @property
    def extraction(self) -> dict[str, Any]:
        """Return the number of passes."""
        return {'mc_passes': self.passes}

    def utilities(self, pool: PoolPredictions, context: QueryContext) -> NDArray[np.float64]:
        """Return how much the passes disagree on each frame."""
        passes = number_of_passes(pool)
        if self.mode == 'mi':
            return _roi_means(mutual_information, pool, 'mc_scores', passes, 1)
        utilities = _roi_means(pass_variance, pool, 'mc_residuals', passes, RESIDUALS)
        if self.mode == 'var_sum':
            utilities = utilities + _roi_means(pass_variance, pool, 'mc_scores', passes, 1)
        return utilities


def number_of_passes(pool: PoolPredictions) -> int:
    """Return the number of Monte-Carlo passes M that the predictions hold.

    Raises:
        UserError: If the metadata do not say, or say fewer than 2.
    """
    passes = pool.metadata.get('mc_passes')
    if not isinstance(passes, int) or passes < 2:
        raise UserError(
            f'{pool.source}: found mc_passes {passes!r} in the metadata, expected at least 2; predict the pool again '
            'with the sampler in the config'
        )
    return passes


def _roi_means(
    measure: Callable[[NDArray[np.floating]], NDArray[np.float64]],
    pool: PoolPredictions,
    column: str,
    passes: int,
    width: int,
) -> NDArray[np.float64]:
    """Return the mean of ``measure`` over each frame's existing RoIs (and residuals); -inf for frames without any."""
    values = pool[column]
    sizes = np.diff(values.offsets)
    wrong = np.flatnonzero(sizes % (passes * width))
    if len(wrong):
        raise UserError(
            f'{pool.source}: frame {pool.frame_ids[wrong[0]]} has {sizes[wrong[0]]} values of {column} in {passes} passes, '
            f'expected a multiple of {passes * width}; the metadata key mc_passes does not fit the columns, predict the '
            'pool again'
        )
    exists = _existing_rois(pool, sizes // (passes * width), column)
    means = np.full(len(sizes), -np.inf)
    for size in np.unique(sizes[sizes > 0]).tolist():  # frames with equally many RoIs at once
        frames = np.flatnonzero(sizes == size)
        rows = values.offsets[:-1][frames][:, None] + np.arange(size)
        own = values.values[rows].reshape(len(frames), passes, -1)
        found = measure(own.swapaxes(0, 1)).reshape(len(frames), -1, width)
        if exists is None:
            means[frames] = found.reshape(len(frames), -1).mean(axis=1)
            continue
        counts = exists.offsets[:-1][frames][:, None] + np.arange(found.shape[1])
        real = exists.values[counts]
        sums = np.where(real[..., None], found, 0).sum(axis=(1, 2))
        means[frames] = np.where(real.any(axis=1), sums / np.maximum(real.sum(axis=1) * width, 1), -np.inf)
    return means.round(12)


def _existing_rois(pool: PoolPredictions, rois: NDArray[np.int64], column: str) -> Ragged | None:
    """Return which of the RoIs that have passes exist; None if all do.

    Raises:
        UserError: If ``roi_valid`` speaks of another number of RoIs; names the frame.
    """
    if 'roi_valid' not in pool.fields:
        return None
    valid = pool['roi_valid']
    existing = np.bincount(
        np.repeat(np.arange(len(pool)), np.diff(valid.offsets)), valid.values, minlength=len(pool)
    ).astype(np.int64)
    if (rois == existing).all():
        return None  # written for the existing ones alone
    wrong = np.flatnonzero(rois != np.diff(valid.offsets))
    if len(wrong):
        raise UserError(
            f'{pool.source}: frame {pool.frame_ids[wrong[0]]} has {column} of {rois[wrong[0]]} RoIs, but roi_valid of '
            f'{np.diff(valid.offsets)[wrong[0]]}; predict the pool again'
        )
    return Ragged(valid.values.astype(bool), valid.offsets)
