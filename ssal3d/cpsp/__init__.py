"""Learning from confident pseudo-scenes: a box bank that refreshed predictions refine, and scenes made of it."""

from typing import TYPE_CHECKING

from ssal3d.cpsp.confidence import class_threshold, thresholds
from ssal3d.cpsp.refine import refine
from ssal3d.cpsp.refresh import refresh
from ssal3d.cpsp.settings import CPSPSettings, cpsp_settings
from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.cpsp.dataset import PseudoSceneDataset as PseudoSceneDataset
    from ssal3d.cpsp.hook import CPSPHook as CPSPHook
    from ssal3d.cpsp.stage import CPSPStage as CPSPStage

__getattr__, __dir__, _lazy = lazy_exports(
    __name__,
    {
        'dataset': ['PseudoSceneDataset'],
        'hook': ['CPSPHook'],
        'stage': ['CPSPStage'],
    },
)
__all__ = ['CPSPSettings', 'class_threshold', 'cpsp_settings', 'refine', 'refresh', 'thresholds', *_lazy]
