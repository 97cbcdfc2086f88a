"""A finished stage of an experiment, and what was predicted with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from ssal3d.loop.querying import QueriedModel
from ssal3d.stages.supervised import StageInputs


@dataclass
class TrainedModel:
    """A finished stage.

    Attributes:
        name: Step of the journal, e.g. ``'round_1/normal'``.
        checkpoint: Its last checkpoint.
        is_last: Whether a chain of stages ends with it.
        inputs: What the stage was given.
        config: The config with which it predicts.
        metrics: Its metrics on the val split by key.
        predictions: Its predictions on the frames that were unlabelled when it was trained, if anybody needs them.
        labelled: Its predictions on the frames that it was trained on, if the sampler or the calibration wants them.
        calibrated: Its predictions with calibrated scores, if the query is to see those.
    """

    name: str
    checkpoint: Path
    is_last: bool
    inputs: StageInputs
    config: Config
    metrics: Mapping[str, float] = field(default_factory=dict)
    predictions: Path | None = None
    labelled: Path | None = None
    calibrated: Path | None = None

    @property
    def group(self) -> str:
        """What it was trained for: ``'round_1'``, ``'final'``, ..."""
        return self.name.partition('/')[0]

    @property
    def stage(self) -> str:
        """Name of its stage in the config."""
        return self.name.rpartition('/')[2]

    @property
    def queried(self) -> QueriedModel:
        """What a query reads of it; the last model of a round always predicts the pool."""
        assert self.predictions is not None, f'{self.name} has not predicted the pool'
        return QueriedModel(self.calibrated or self.predictions, self.labelled)
