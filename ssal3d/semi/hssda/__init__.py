"""HSSDA: labels of three levels, mined between epochs, and patches that change places."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.semi.hssda.dataset import PasteCandidates as PasteCandidates
    from ssal3d.semi.hssda.dataset import PoolSemiDataset as PoolSemiDataset
    from ssal3d.semi.hssda.dataset import collate_branches as collate_branches
    from ssal3d.semi.hssda.detector import HSSDA as HSSDA
    from ssal3d.semi.hssda.hook import HSSDAMiningHook as HSSDAMiningHook
    from ssal3d.semi.hssda.label_store import LabelStore as LabelStore
    from ssal3d.semi.hssda.shuffle import ShuffleSparseEncoder as ShuffleSparseEncoder
    from ssal3d.semi.hssda.stage import HSSDAStage as HSSDAStage

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'dataset': ['PasteCandidates', 'PoolSemiDataset', 'collate_branches'],
        'detector': ['HSSDA'],
        'hook': ['HSSDAMiningHook'],
        'label_store': ['LabelStore'],
        'shuffle': ['ShuffleSparseEncoder'],
        'stage': ['HSSDAStage'],
    },
)
