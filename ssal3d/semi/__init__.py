"""Semi-supervised methods with a teacher and a student; importing this package registers them."""

from ssal3d.semi.dataset import PairedSemiDataset
from ssal3d.semi.detector import SemiDetector3D
from ssal3d.semi.ema import TeacherEMAHook
from ssal3d.semi.joint3d import ConsistencySSL3D
from ssal3d.semi.nal import NAL3D, LoadAutoLabels
from ssal3d.semi.preprocessor import SemiDataPreprocessor
from ssal3d.semi.threedioumatch import IoUMatch3D

__all__ = [
    'NAL3D',
    'ConsistencySSL3D',
    'IoUMatch3D',
    'LoadAutoLabels',
    'PairedSemiDataset',
    'SemiDataPreprocessor',
    'SemiDetector3D',
    'TeacherEMAHook',
]
