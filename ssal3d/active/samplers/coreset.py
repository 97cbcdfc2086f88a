"""CoreSet: frames whose RoI features are far from those of all frames that are labelled or bought.

Source: Sener and Savarese 2018, arXiv 1708.00489; see docs/deviations.md#the-other-samplers.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.checks import check_frame_rows, check_width
from ssal3d.active.functional.chunks import map_chunks
from ssal3d.active.functional.k_centre import k_centre_order
from ssal3d.active.sampler import ActiveSampler, Candidate, QueryContext
from ssal3d.errors import UserError
from ssal3d.options import one_of
from ssal3d.predictions import PoolPredictions
from ssal3d.predictions.table import Ragged
from ssal3d.registry import ACTIVE_SAMPLERS


@ACTIVE_SAMPLERS.register_module()
class CoreSetSampler(ActiveSampler):
    """Buys the frame that is farthest from its nearest labelled or bought frame, again and again (greedy k-centre).

    A frame's utility is this Euclidean distance at the time of purchase. While nothing is labelled, the first frame is
    the one nearest to the mean of the pool. Ties go by frame id.

    Args:
        init: Distance to the labelled frames: ``'min'``, to the nearest; ``'mean'``: root of the mean squared distance
            to all of them, until a bought frame is nearer (released code of CRB).
        pool: Features of a frame: ``'flatten'``, those of all RoIs one after another, which depends on their order by
            score; ``'mean'`` of the existing RoIs; frames without any come last then.
    """

    required_fields: tuple[str, ...] = ('roi_features',)
    needs_labelled = True

    def __init__(self, init: str = 'min', pool: str = 'flatten') -> None:
        self.init = one_of('init', init, ('min', 'mean'))
        self.pool = one_of('pool', pool, ('flatten', 'mean'))
        if pool == 'mean':
            self.required_fields = ('roi_features', 'roi_valid')
        self.labelled_fields = self.required_fields

    def order(self, pool: PoolPredictions, context: QueryContext) -> Iterator[Candidate]:
        """Yield frames, the farthest from all centres next."""
        rows, described = self._features(pool)
        known = rows[:0]
        if context.labelled is not None and len(context.labelled):
            known, usable = self._features(context.labelled)
            check_width(known, rows, 'found {} RoI features per frame', context.labelled, pool)
            known = known[usable]
        frames = np.flatnonzero(described)
        rows = rows if len(frames) == len(rows) else rows[frames]
        for row, distance in k_centre_order(rows, known, self.init):
            yield Candidate(int(frames[row]), distance)
        for frame in np.flatnonzero(~described).tolist():
            yield Candidate(frame)

    def _features(self, predictions: PoolPredictions) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
        """Return a row per frame, and which frames it says something about."""
        features = predictions['roi_features']
        check_frame_rows(features, 'roi_features', predictions)
        if self.pool == 'flatten':
            return features, np.ones(len(features), dtype=bool)
        return mean_of_rois(features, valid_rois(predictions))


def valid_rois(predictions: PoolPredictions) -> NDArray[np.bool_]:
    """Return the ``(F, R)`` mask of existing RoIs.

    Raises:
        UserError: If frames differ in R, or R does not fit the features; names the frame.
    """
    valid, width = predictions['roi_valid'], predictions['roi_features'].shape[1]
    assert isinstance(valid, Ragged)
    sizes = np.diff(valid.offsets)
    if not len(sizes):
        return np.zeros((0, 1), dtype=bool)
    wrong = np.flatnonzero((sizes != sizes[0]) | (sizes == 0) | (width % np.maximum(sizes, 1) != 0))
    if len(wrong):
        raise UserError(
            f'{predictions.source}: roi_valid of frame {predictions.frame_ids[wrong[0]]} has {sizes[wrong[0]]} values, '
            f'expected as many as in every frame, a divisor of the {width} roi_features; predict the pool again'
        )
    return valid.values.reshape(len(sizes), -1)


def mean_of_rois(
    features: NDArray[np.floating], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the ``(F, D)`` mean features of each frame's existing RoIs, and which frames have any.

    Args:
        features: ``(F, R * D)`` features of all RoIs.
        valid: ``(F, R)`` which of them exist.

    >>> means, some = mean_of_rois(np.array([[1.0, 2.0, 3.0, 4.0, 9.0, 9.0]]), np.array([[True, True, False]]))
    >>> means.tolist(), some.tolist()
    ([[2.0, 3.0]], [True])
    """
    frames, rois = valid.shape
    width = features.shape[1] // rois
    counts = valid.sum(axis=1)

    def means(start: int, stop: int) -> NDArray[np.float32]:
        part = features[start:stop].astype(np.float32).reshape(stop - start, rois, width)
        sums = valid[start:stop, None].astype(np.float32) @ part
        return sums[:, 0] / np.maximum(counts[start:stop, None], 1).astype(np.float32)

    return np.concatenate(map_chunks(means, frames)), counts > 0
