"""Training stages: each turns the experiment's config into the config of one ordinary mmengine run."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.stages.loss_net import LossNetStage as LossNetStage
    from ssal3d.stages.run import train_stage as train_stage
    from ssal3d.stages.schedules import stretch as stretch
    from ssal3d.stages.supervised import StageInputs as StageInputs
    from ssal3d.stages.supervised import SupervisedStage as SupervisedStage

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'loss_net': ['LossNetStage'],
        'run': ['train_stage'],
        'schedules': ['stretch'],
        'supervised': ['StageInputs', 'SupervisedStage'],
    },
)
