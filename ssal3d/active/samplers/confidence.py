"""Confidence selection: frames with the boxes that the detector is least confident of."""

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.uncertainty import frame_max, frame_mean
from ssal3d.active.ranking import RankingSampler
from ssal3d.active.sampler import QueryContext
from ssal3d.options import one_of
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS

MODES = ('least', 'margin')
POOLS = ('mean', 'max')


def doubt(scores: NDArray[np.floating], mode: str = 'least') -> NDArray[np.floating]:
    """Return how little is believed in boxes with the ``(K,)`` scores, in [0, 1].

    Args:
        scores: Confidences in [0, 1].
        mode: ``'least'``: 1 - p; ``'margin'``: 1 - |2p - 1|, the distance to a clear yes or no.

    >>> doubt(np.array([0.9, 0.5, 0.2])).round(6).tolist(), doubt(np.array([0.9, 0.5, 0.2]), 'margin').round(6).tolist()
    ([0.1, 0.5, 0.8], [0.2, 1.0, 0.4])
    """
    scores = np.asarray(scores, dtype=np.float64)
    return 1 - scores if mode == 'least' else 1 - np.abs(2 * scores - 1)


@ACTIVE_SAMPLERS.register_module()
class ConfidenceSampler(RankingSampler):
    """Buys the frames with the least confident final boxes.

    The CRB code takes a softmax over the single confidence of a RoI, which is constant; this one uses the score.

    Args:
        mode: Doubt in a box: ``'least'`` (1 - p) or ``'margin'`` (one minus the distance of 2p from 1).
        pool: Doubt in a frame: ``'mean'`` of its boxes, or ``'max'``: that of its least confident box.
    """

    def __init__(self, mode: str = 'least', pool: str = 'mean') -> None:
        self.mode = one_of('mode', mode, MODES)
        self.pool = one_of('pool', pool, POOLS)

    def utilities(self, pool: PoolPredictions, context: QueryContext) -> NDArray[np.float64]:
        """Return the doubt in each frame."""
        doubts = doubt(pool.scores, self.mode)
        return frame_mean(doubts, pool.offsets) if self.pool == 'mean' else frame_max(doubts, pool.offsets)
