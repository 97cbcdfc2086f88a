"""The contract between detectors and everything else: pool predictions as Parquet files.

No part of MMDetection3D is needed to read or write them, so predictions of any detector work with every sampler.
"""

from ssal3d.predictions.reader import read_predictions
from ssal3d.predictions.table import PoolPredictions
from ssal3d.predictions.writer import PredictionWriter

__all__ = ['PoolPredictions', 'PredictionWriter', 'read_predictions']
