"""Entropy selection: frames with the boxes that the detector is most uncertain about."""

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.functional.uncertainty import binary_entropy, frame_mean, softmax_entropy
from ssal3d.active.ranking import RankingSampler
from ssal3d.active.sampler import QueryContext
from ssal3d.options import one_of
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS


@ACTIVE_SAMPLERS.register_module()
class EntropySampler(RankingSampler):
    """Buys the frames with the highest mean entropy of their final boxes.

    Args:
        source: ``'binary_score'``: of the final score, in bits (CAL's measure without its second model);
            ``'softmax_rpn'``: of the softmax of ``class_logits``, in nats (CRB code).
    """

    def __init__(self, source: str = 'binary_score') -> None:
        self.source = one_of('source', source, ('binary_score', 'softmax_rpn'))
        if source == 'softmax_rpn':
            self.required_fields = ('class_logits',)

    def utilities(self, pool: PoolPredictions, context: QueryContext) -> NDArray[np.float64]:
        """Return the mean entropy of each frame's boxes."""
        if self.source == 'binary_score':
            return frame_mean(binary_entropy(pool.scores), pool.offsets)
        return frame_mean(softmax_entropy(pool['class_logits']), pool.offsets)
