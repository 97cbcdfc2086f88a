"""Predictions of an experiment's models for the pool and for labelled frames, raw or calibrated."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmdet3d.registry import DATASETS
from mmengine.config import Config

from ssal3d.active import ActiveSampler
from ssal3d.active.query.inputs import digest_of_folder
from ssal3d.fileio import file_digest, sha256
from ssal3d.log import tell
from ssal3d.loop.digests import neutral
from ssal3d.loop.score_calibration import calibrate_predictions
from ssal3d.loop.steps import Steps
from ssal3d.loop.trained_model import TrainedModel
from ssal3d.models.loading import load_detector
from ssal3d.predictions.pool_inference import predict_pool
from ssal3d.predictions.reader import find_parts
from ssal3d.stages.supervised import labelled_test_view, pool_view


class Predictor:
    """Predicts frames with finished models, each prediction a step of the experiment.

    Args:
        config: The experiment's config.
        steps: The experiment's steps.
        options: Arguments of `predict_pool`.
        score_calibration: How scores are calibrated for a query; None if they are not.
    """

    def __init__(
        self,
        config: Config,
        steps: Steps,
        options: Mapping[str, Any],
        score_calibration: Mapping[str, Any] | None,
    ) -> None:
        self.config, self.steps, self.options, self.score_calibration = config, steps, options, score_calibration

    def predict_unlabelled(self, model: TrainedModel, sampler: ActiveSampler, columns: Sequence[str]) -> None:
        """Predict the frames that were unlabelled when the model was trained.

        Args:
            model: The model; its ``predictions`` are set.
            sampler: Who reads them.
            columns: Columns beyond boxes, scores and labels.
        """
        model.predictions = self._predict(model, pool_view(model.config, model.inputs), sampler, columns)

    def predict_labelled(self, model: TrainedModel, sampler: ActiveSampler) -> None:
        """Predict the frames that the model was trained on, if the query or the calibration looks at them.

        Args:
            model: The model; its ``labelled`` are set.
            sampler: Who reads them.
        """
        if sampler.uses_labelled or (model.is_last and sampler.needs_labelled) or self.score_calibration is not None:
            view = labelled_test_view(model.config, model.inputs)
            model.labelled = self._predict(model, view, sampler, sampler.labelled_fields, 'labelled')

    def calibrate(self, models: Sequence[TrainedModel]) -> None:
        """Let a query see calibrated scores of every model whose predictions it may read, if that is wanted.

        Args:
            models: The models; their ``calibrated`` are set.
        """
        settings = self.score_calibration
        if settings is None:
            return
        for model in models:
            if model.predictions is None or model.labelled is None:
                continue
            stage = self.steps.folder / model.name
            folder, given = stage.with_name(f'calibrated_{stage.name}'), (model.predictions, model.labelled)
            reads = {
                'settings': neutral(settings, {}),
                'predictions': [digest_of_folder(path) for path in given],
                'pool': neutral(dict(self.config.pool_dataset, pipeline=[]), {}),
            }
            labelled_folder = stage.with_name(f'calibrated_labelled_{stage.name}')
            work = partial(calibrate_predictions, self.config, settings, *given, folder, labelled_folder)
            self.steps.do(str(folder.relative_to(self.steps.folder)), reads, work)
            model.calibrated, model.labelled = folder, labelled_folder

    def _predict(
        self,
        model: TrainedModel,
        view: Mapping[str, Any],
        sampler: ActiveSampler,
        columns: Sequence[str],
        kind: str = 'predictions',
    ) -> Path:
        """Predict the frames of a view into ``<kind>_<stage>`` beside the stage's folder, and return that folder."""
        stage = self.steps.folder / model.name
        folder = stage.with_name(f'{kind}_{stage.name}')
        name = str(folder.relative_to(self.steps.folder))

        def work() -> dict[str, Any]:
            timing = predict_pool(
                load_detector(model.config, model.checkpoint),
                DATASETS.build(view),
                folder,
                fields=columns,
                extraction=sampler.extraction,
                metadata={'checkpoint_sha256': sha256(model.checkpoint)},
                description=f'predicting {name}',
                **self.options,
            )
            tell(f'{name}: {timing}')
            return {'files': {'predictions': find_parts(folder)}, 'timing': vars(timing)}

        reads = {
            'model': neutral(model.config.model, {}),
            'weights': file_digest(model.checkpoint),
            'view': neutral(view, {}),
            'columns': list(columns),
            'extraction': neutral(sampler.extraction, {}),
        }
        self.steps.do(name, reads, work)
        return folder
