"""The stage between a round's detector and its query when frames are chosen by predicted loss (LLAL)."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size

from ssal3d.data.label_state import LabelState
from ssal3d.errors import UserError
from ssal3d.options import check_range
from ssal3d.registry import STAGES
from ssal3d.stages.supervised import StageInputs, SupervisedStage


@STAGES.register_module()
class LossNetStage(SupervisedStage):
    """Trains the loss net of a `LossPredictingPVRCNN` on the labelled frames; the detector stays as it is.

    There is no validation: the detector's boxes are those of the stage before.

    Args:
        epochs: Number of epochs.
        lr: Constant learning rate of Adam.
        batch_size: Frames per step over all processes, an even number in each of them, because they are compared in
            pairs; by default that of the experiment, rounded up.
        repeat: How often an epoch goes through the labelled frames; more if they do not fill a batch.
        checkpoint_interval: Epochs between checkpoints.
        options: As for `SupervisedStage`.
    """

    leaves = 'LossPredictingPVRCNN'

    def __init__(
        self,
        epochs: int = 10,
        lr: float = 1e-3,
        batch_size: int | None = None,
        repeat: int = 1,
        checkpoint_interval: int = 1,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(epochs, repeat, None, checkpoint_interval, options)
        self.lr = check_range('lr', lr)
        if batch_size is not None and (batch_size < 2 or batch_size % 2):
            raise UserError(f'batch_size of LossNetStage: found {batch_size!r}, expected an even number of frames')
        self.batch_size = batch_size

    def compose(self, experiment: Config, inputs: StageInputs) -> Config:
        """Return the config of the run without ``options``.

        Args:
            experiment: The experiment's config.
            inputs: Folder, labels and starting point.

        Raises:
            UserError: If there is no detector to start from.
        """
        if inputs.load_from is None:
            raise UserError(
                f'{inputs.work_dir}: a loss net needs a trained detector; let another stage come first, e.g. '
                "pretrain=['normal', 'loss_net']"
            )
        config = super().compose(experiment, inputs)
        config.model.type = self.leaves
        # Nothing of the detector's optimiser is kept but the precision; merging would mix two optimisers' arguments.
        precision = {key: config.optim_wrapper[key] for key in ('type', 'dtype') if key in config.optim_wrapper}
        config.optim_wrapper = dict(**precision, optimizer=dict(type='Adam', lr=self.lr))
        config.param_scheduler = []
        config.train_dataloader.batch_size = self._batch_size(config)
        config.train_dataloader.drop_last = True
        config.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=self.epochs)
        for name in ('val_cfg', 'val_dataloader', 'val_evaluator'):
            config.pop(name, None)
        return config

    def build_config(self, experiment: Config, inputs: StageInputs) -> Config:
        """Return the complete config of the run.

        Args:
            experiment: The experiment's config.
            inputs: Folder, labels and starting point.

        Raises:
            UserError: If a process would get an odd number of frames.
        """
        config = super().build_config(experiment, inputs)
        if config.train_dataloader.batch_size % 2:
            raise UserError(
                f'batch_size of LossNetStage: found {config.total_batch_size} frames for {get_world_size()} processes, '
                'expected an even number for each of them'
            )
        return config

    def train_dataset(self, config: Config, inputs: StageInputs) -> dict[str, Any]:
        """Return the labelled frames, repeated until every process can fill a batch."""
        return dict(super().train_dataset(config, inputs), repeat=max(self.repeat, self._least_repeat(config, inputs)))

    def _batch_size(self, config: Config) -> int:
        pairs = 2 * get_world_size()
        return (
            self.batch_size or -(-config.get('total_batch_size', config.train_dataloader.batch_size) // pairs) * pairs
        )

    def _least_repeat(self, config: Config, inputs: StageInputs) -> int:
        if not inputs.labels.exists():
            return 1  # a config built for a look, before anything was bought
        frames = len(LabelState.read(inputs.labels).frames)
        if not frames:
            raise UserError(
                f'{inputs.labels}: found no labelled frame, expected at least one; raise the initial budget'
            )
        return -(-self._batch_size(config) // frames)
