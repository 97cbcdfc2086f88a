"""Semi-supervised methods with a teacher and a student; importing this package registers them."""

from ssal3d.semi.dataset import PairedSemiDataset
from ssal3d.semi.detector import SemiDetector3D
from ssal3d.semi.ema import TeacherEMAHook
from ssal3d.semi.preprocessor import SemiDataPreprocessor
from ssal3d.semi.threedioumatch import IoUMatch3D

__all__ = ['IoUMatch3D', 'PairedSemiDataset', 'SemiDataPreprocessor', 'SemiDetector3D', 'TeacherEMAHook']
