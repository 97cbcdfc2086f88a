"""The contract between detectors and everything else: pool predictions as Parquet files.

No part of MMDetection3D is needed to read or write them, so predictions of any detector work with every sampler.
"""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports
from ssal3d.predictions.reader import read_predictions
from ssal3d.predictions.table import PoolPredictions
from ssal3d.predictions.writer import PredictionWriter

if TYPE_CHECKING:
    from ssal3d.predictions.pool_inference import predict_pool as predict_pool

__getattr__, __dir__, _lazy = lazy_exports(
    __name__,
    {
        'pool_inference': ['predict_pool'],
    },
)
__all__ = ['PoolPredictions', 'PredictionWriter', 'read_predictions', *_lazy]
