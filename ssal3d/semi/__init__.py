"""Semi-supervised methods with a teacher and a student; importing this package registers them.

A method is a folder with a ``detector.py``; nothing else has to name it.
"""

from importlib import import_module
from pkgutil import iter_modules

from ssal3d.semi.dataset import PairedSemiDataset
from ssal3d.semi.detector import SemiDetector3D
from ssal3d.semi.ema import MeanTeacherHook
from ssal3d.semi.hssda.dataset import PasteCandidates, PoolSemiDataset, collate_branches
from ssal3d.semi.hssda.detector import HSSDA
from ssal3d.semi.hssda.hook import HSSDAMiningHook
from ssal3d.semi.joint3d.detector import ConsistencySSL3D
from ssal3d.semi.nal.detector import NAL3D, LoadAutoLabels
from ssal3d.semi.preprocessor import SemiDataPreprocessor
from ssal3d.semi.threedioumatch.detector import IoUMatch3D

__all__ = [
    'HSSDA',
    'NAL3D',
    'ConsistencySSL3D',
    'HSSDAMiningHook',
    'IoUMatch3D',
    'LoadAutoLabels',
    'MeanTeacherHook',
    'PairedSemiDataset',
    'PasteCandidates',
    'PoolSemiDataset',
    'SemiDataPreprocessor',
    'SemiDetector3D',
    'collate_branches',
]

for folder in iter_modules(__path__):
    if folder.ispkg:
        import_module(f'{__name__}.{folder.name}.detector')
