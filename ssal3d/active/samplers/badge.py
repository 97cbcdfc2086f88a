"""BADGE: frames with large and different hypothetical gradients.

Source: Ash et al. 2020, arXiv 1906.03671; see docs/deviations.md#the-other-samplers.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ssal3d.active.functional.checks import check_gradient_layer, check_gradients
from ssal3d.active.functional.seeding import seeding_order
from ssal3d.active.sampler import ActiveSampler, Candidate, QueryContext
from ssal3d.options import check_range, one_of
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS

LAYERS = ('roi_cls', 'rpn_conv_cls')


@ACTIVE_SAMPLERS.register_module()
class BADGESampler(ActiveSampler):
    """Buys frames in the order of k-means++ seeding on gradient embeddings.

    The gradient is that of the loss if the detector's own prediction were the label. It is short where the detector is
    certain, and its direction tells what the detector is unsure of. The draws depend on the query's seed; the released
    code uses 0, but its gradients and frame ids are in different orders, so that it selects at random.

    Args:
        layer: Layer of the gradient: ``'roi_cls'``, the last hidden layer of the RoI score branch (paper), or
            ``'rpn_conv_cls'``, the RPN's classification layer (released code); used when predicting the pool.
        proj_dim: Both sides of the gradient matrix are projected to this many dimensions when predicting the pool; None
            keeps all.
    """

    required_fields = ('gradient',)

    def __init__(self, layer: str = 'roi_cls', proj_dim: int | None = 64) -> None:
        self.layer = one_of('layer', layer, LAYERS)
        self.proj_dim = None if proj_dim is None else int(check_range('proj_dim', proj_dim, low=1))

    @property
    def extraction(self) -> dict[str, Any]:
        """Gradients of the layer, projected."""
        return {'gradient': self.layer, 'projection': self.proj_dim}

    def order(self, pool: PoolPredictions, context: QueryContext) -> Iterator[Candidate]:
        """Yield frames in the order of the seeding; its draws are no ranking, so there is no utility."""
        remedy = 'BADGESampler in the config, or set its option layer to what was found'
        check_gradient_layer(pool, self.layer, remedy)
        gradients = pool['gradient']
        check_gradients(gradients, np.arange(len(pool)), pool)
        for frame in seeding_order(gradients, max(context.frames_estimate, 1), context.seed):
            yield Candidate(frame)
