"""Training stages: each turns the experiment's config into the config of one ordinary mmengine run."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size
from numpy.typing import NDArray

from ssal3d.distributed import frames_per_process
from ssal3d.errors import UserError
from ssal3d.registry import STAGES
from ssal3d.stages.run import last_checkpoint
from ssal3d.stages.schedules import stretch

BoxesByFrame = dict[str, tuple[NDArray, NDArray]]  # by frame id: (K, 7) gravity-centred boxes (m, rad), (K,) labels

# Keys of an experiment that mean nothing to a single run.
EXPERIMENT_KEYS = ('train_cfg', 'stages', 'schedule', 'active_sampler', 'query', 'resume', 'load_from')


@dataclass(frozen=True)
class StageInputs:
    """What a stage gets from the loop.

    Attributes:
        work_dir: The stage's own folder.
        labels: Label state: what the stage may learn from.
        load_from: Checkpoint to start from; None for random initial weights.
        pool_predictions: Predictions of that checkpoint on the unlabelled pool, if there are any.
        pool_dataloader: How the stage predicts the pool itself, as the config's ``pool_dataloader``: ``batch_size``,
            ``num_workers``, ``frames_per_part``.
    """

    work_dir: Path
    labels: Path
    load_from: Path | None = None
    pool_predictions: Path | None = None
    pool_dataloader: Mapping[str, Any] = field(default_factory=dict)


@STAGES.register_module()
class SupervisedStage:
    """Supervised training on the labelled frames with ground-truth pasting ("Normal" in S-SSAL).

    Args:
        epochs: Number of epochs.
        repeat: How often an epoch goes through the labelled frames.
        param_scheduler: MMEngine's, for any length, see `stretch`; by default that of the experiment.
        checkpoint_interval: Epochs between checkpoints; a killed run loses at most that many.
        options: Anything of the run's config to change, e.g. ``dict(train_dataloader=dict(batch_size=4))``; merged
            last.
        frames: Frames that the model learns from in the whole run, instead of ``repeat``; thus stages with any number
            of labelled frames, or of frames per sample, are compared at the same cost.

    Attributes:
        prediction_fields: Columns that it reads of the previous stage's predictions of the pool, beyond boxes, scores
            and labels; None if it does not read those predictions.
        leaves: Type of the detector that it leaves, if that is another one than the experiment's, of which it is a
            subclass.
        frames_per_sample: Frames that the model learns from in a sample of the data set.

    Raises:
        UserError: If there are fewer ``frames`` than epochs.
    """

    frames_per_sample = 1
    leaves: str | None = None
    prediction_fields: tuple[str, ...] | None = None

    @property
    def needs(self) -> frozenset[str]:
        """What the detector must give beside the stock interface, names from `ssal3d.models.protocol.ABILITIES`."""
        return frozenset()

    def __init__(
        self,
        epochs: int,
        repeat: int = 1,
        param_scheduler: Sequence[Mapping[str, Any]] | None = None,
        checkpoint_interval: int = 1,
        options: Mapping[str, Any] | None = None,
        frames: int | None = None,
    ) -> None:
        if frames is not None and frames < epochs * self.frames_per_sample:
            raise UserError(
                f'{type(self).__name__}: found frames={frames}, expected at least {epochs * self.frames_per_sample}, '
                f'a sample in each of {epochs} epochs'
            )
        self.frames = frames
        self.epochs = epochs
        self.repeat = repeat
        self.param_scheduler = param_scheduler
        self.checkpoint_interval = checkpoint_interval
        self.options = dict(options or {})

    def build_config(self, experiment: Config, inputs: StageInputs) -> Config:
        """Return the complete config of the run; ``ssal3d train`` can run it alone.

        Args:
            experiment: The experiment's config.
            inputs: Folder, labels and starting point.
        """
        config = self.compose(experiment, inputs)
        config.merge_from_dict(copy.deepcopy(self.options))
        share_batch(config)
        return config

    def compose(self, experiment: Config, inputs: StageInputs) -> Config:
        """Return the config of the run without ``options``; what a subclass changes.

        Args:
            experiment: The experiment's config.
            inputs: Folder, labels and starting point.
        """
        content = {k: v for k, v in copy.deepcopy(experiment._cfg_dict).items() if k not in EXPERIMENT_KEYS}
        config = Config(content)
        config.work_dir = str(inputs.work_dir)
        config.load_from = str(inputs.load_from) if inputs.load_from else None
        config.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=self.epochs, val_interval=self.epochs)
        config.param_scheduler = stretch(self._param_scheduler(config), self.epochs)
        config.train_dataloader.dataset = self.train_dataset(config, inputs)
        config.default_hooks.checkpoint = dict(
            type='CheckpointHook', interval=self.checkpoint_interval, max_keep_ckpts=2, save_last=True
        )
        config.custom_hooks = [
            *config.get('custom_hooks', []),
            dict(type='EpochSeedHook'),
            dict(type='SyncBuffersHook'),  # batch norm statistics: the same weights, so the same bank, on every rank
            *self.hooks(config, inputs),
        ]
        return config

    def _param_scheduler(self, config: Config) -> Sequence[Mapping[str, Any]]:
        return config.get('param_scheduler', []) if self.param_scheduler is None else self.param_scheduler

    def detector_config(self, config: Config) -> Config:
        """Return the config with which the stage's checkpoint makes predictions.

        Args:
            config: What `build_config` returned.
        """
        return config

    def result(self, config: Config) -> Path:
        """Return the checkpoint of the plain detector that the finished run leaves.

        Args:
            config: What `build_config` returned.
        """
        return last_checkpoint(config)

    def pseudo_labels(self, config: Config, inputs: StageInputs) -> BoxesByFrame | None:
        """Return what the finished stage took for labels of unlabelled frames; None if it takes nothing.

        Called in every process, so that they can share the frames; what the first one returns counts.

        Args:
            config: What `build_config` returned.
            inputs: What it was given.
        """
        return None

    def train_dataset(self, config: Config, inputs: StageInputs) -> dict[str, Any]:
        """Return the data set config of the run."""
        return dict(
            type='SeededRepeatDataset',
            dataset=labelled_view(config, inputs),
            **self.length(),
            seed=config.randomness.seed,
        )

    def length(self) -> dict[str, int]:
        """Return the argument of the data set that decides how long an epoch is."""
        if self.frames is None:
            return {'repeat': self.repeat}
        return {'length': round(self.frames / (self.epochs * self.frames_per_sample))}

    def hooks(self, config: Config, inputs: StageInputs) -> list[dict[str, Any]]:
        """Return the hooks that this kind of stage needs beside the usual ones."""
        return [dict(type='PasteBankHook', bank=bank_of(inputs), labelled=labelled_frames(config, inputs))]


def share_batch(config: Config) -> None:
    """Give each process its share of the run's batch, so that their number changes neither steps nor frames.

    Args:
        config: Config of a run whose ``train_dataloader.batch_size`` counts the frames of all processes; changed in
            place. ``total_batch_size`` keeps the number, for a rerun with another number of processes.

    Raises:
        UserError: If the processes cannot share the batch evenly.
    """
    config.total_batch_size = config.train_dataloader.batch_size
    config.train_dataloader.batch_size = frames_per_process(config.total_batch_size, get_world_size())


def bank_of(inputs: StageInputs) -> str:
    """Return the folder of a stage's box bank."""
    return str(inputs.work_dir / 'bank')


def labelled_view(config: Config, inputs: StageInputs) -> dict[str, Any]:
    """Return the labelled frames with training augmentation and pasting."""
    return view_config('LabelledView', config, inputs, with_bank(config.labelled_pipeline, bank_of(inputs)))


def labelled_frames(config: Config, inputs: StageInputs) -> dict[str, Any]:
    """Return the labelled frames without a pipeline: what the paste database is cut from."""
    return view_config('LabelledView', config, inputs, [])


def pool_view(config: Config, inputs: StageInputs) -> dict[str, Any]:
    """Return the unlabelled frames with the test pipeline: what pool predictions are made on."""
    return view_config('UnlabelledView', config, inputs, config.test_pipeline)


def labelled_test_view(config: Config, inputs: StageInputs) -> dict[str, Any]:
    """Return the labelled frames with the test pipeline: what samplers that compare with them are given."""
    return view_config('LabelledView', config, inputs, config.test_pipeline)


def with_bank(pipeline: Sequence[Mapping[str, Any]], bank: str) -> list[dict[str, Any]]:
    """Return a pipeline whose transforms with a ``bank`` key read this bank."""
    return [dict(step, bank=bank) if 'bank' in step else dict(step) for step in pipeline]


def view_config(kind: str, config: Config, inputs: StageInputs, pipeline: Sequence[Any]) -> dict[str, Any]:
    """Return the config of a view of the pool: ``'LabelledView'`` or ``'UnlabelledView'``, with a pipeline."""
    dataset = dict(copy.deepcopy(dict(config.pool_dataset)), pipeline=list(pipeline))
    return dict(type=kind, dataset=dataset, labels=str(inputs.labels))


def loading_steps(config: Config) -> list[dict[str, Any]]:
    """Return the steps of the test pipeline that read a frame from disk."""
    return [step for step in config.test_pipeline if step['type'].startswith('Load')]
