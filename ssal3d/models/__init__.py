"""Detectors that fill the prediction contract."""

from ssal3d.models.loss_prediction import LossPredictingPVRCNN
from ssal3d.models.mixed_precision import MixedPrecisionOptimWrapper
from ssal3d.models.pvrcnn import (
    ActivePartA2RPNHead,
    ActivePointVoxelRCNN,
    ActivePVRCNNBBoxHead,
    ActivePVRCNNRoiHead,
)

__all__ = [
    'ActivePVRCNNBBoxHead',
    'ActivePVRCNNRoiHead',
    'ActivePartA2RPNHead',
    'ActivePointVoxelRCNN',
    'LossPredictingPVRCNN',
    'MixedPrecisionOptimWrapper',
]
