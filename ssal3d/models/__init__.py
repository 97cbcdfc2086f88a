"""Detectors that fill the prediction contract; `ssal3d.register` imports and so registers them."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.models.loss_prediction import LossPredictingPVRCNN as LossPredictingPVRCNN
    from ssal3d.models.protocol import FrameOutput as FrameOutput
    from ssal3d.models.protocol import FrameTeacher as FrameTeacher
    from ssal3d.models.protocol import QueryDetector as QueryDetector
    from ssal3d.models.pvrcnn import ActivePointVoxelRCNN as ActivePointVoxelRCNN
    from ssal3d.models.single_stage import ActiveCenterPoint as ActiveCenterPoint
    from ssal3d.models.single_stage import ActiveVoxelNet as ActiveVoxelNet

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'loss_prediction': ['LossPredictingPVRCNN'],
        'protocol': ['FrameOutput', 'FrameTeacher', 'QueryDetector'],
        'pvrcnn': ['ActivePointVoxelRCNN'],
        'single_stage': ['ActiveCenterPoint', 'ActiveVoxelNet'],
    },
)
