"""Detectors that fill the prediction contract."""

from ssal3d.models.anchor_head import ActiveAnchor3DHead
from ssal3d.models.center_head import ActiveCenterHead
from ssal3d.models.loss_prediction import LossPredictingPVRCNN
from ssal3d.models.pvrcnn import (
    ActivePartA2RPNHead,
    ActivePointVoxelRCNN,
    ActivePVRCNNBBoxHead,
    ActivePVRCNNRoiHead,
)
from ssal3d.models.single_stage import ActiveCenterPoint, ActiveVoxelNet

__all__ = [
    'ActiveAnchor3DHead',
    'ActiveCenterHead',
    'ActiveCenterPoint',
    'ActivePVRCNNBBoxHead',
    'ActivePVRCNNRoiHead',
    'ActivePartA2RPNHead',
    'ActivePointVoxelRCNN',
    'ActiveVoxelNet',
    'LossPredictingPVRCNN',
]
