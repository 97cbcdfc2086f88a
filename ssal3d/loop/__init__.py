"""The experiment: rounds of ordinary training stages, queries and annotation, with a journal that resume trusts."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.loop.active_learning_loop import ActiveLearningLoop as ActiveLearningLoop
    from ssal3d.loop.annotators import Annotator as Annotator
    from ssal3d.loop.annotators import SimulatedAnnotator as SimulatedAnnotator
    from ssal3d.loop.hooks import LoopHook as LoopHook
    from ssal3d.loop.journal import Journal as Journal

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'active_learning_loop': ['ActiveLearningLoop'],
        'annotators': ['Annotator', 'SimulatedAnnotator'],
        'hooks': ['LoopHook'],
        'journal': ['Journal'],
    },
)
