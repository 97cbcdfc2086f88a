"""Learning loss: frames on which a loss net expects the detector to do worst.

Source: Yoo and Kweon 2019, arXiv 1905.03677; see docs/deviations.md#the-other-samplers.
"""

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.ranking import RankingSampler
from ssal3d.active.sampler import QueryContext
from ssal3d.predictions import PoolPredictions
from ssal3d.registry import ACTIVE_SAMPLERS


@ACTIVE_SAMPLERS.register_module()
class LLALSampler(RankingSampler):
    """Buys the frames with the highest predicted loss, whether or not they have boxes.

    The detector must be a `LossPredictingPVRCNN` whose loss net a `LossNetStage` trained.
    """

    required_fields = ('predicted_loss',)

    def utilities(self, pool: PoolPredictions, context: QueryContext) -> NDArray[np.float64]:
        """Return the predicted loss of each frame; only the order means something."""
        return np.asarray(pool['predicted_loss'], dtype=np.float64).reshape(-1)
