"""The experiment as an mmengine loop: initial frames, rounds of pre-training and querying, final training."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, Runner
from torch import nn

from ssal3d.active import ActiveSampler, RandomSampler
from ssal3d.active.query.inputs import digest_of_folder
from ssal3d.checks.labels import refuse_labels
from ssal3d.distributed import barrier
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import exclusive, file_digest, remove, sha256
from ssal3d.log import tell
from ssal3d.loop.abilities import check_abilities
from ssal3d.loop.card import write_card
from ssal3d.loop.chains import Chains, Place, plan
from ssal3d.loop.digests import differences, neutral, training_content
from ssal3d.loop.journal import FinishedSteps, Journal, take_over
from ssal3d.loop.querying import (
    QueriedModel,
    build_sampler,
    buy_frames,
    buy_initial_frames,
    check_annotator,
    check_entries,
    query_reads,
    settings_of,
    take_labels,
)
from ssal3d.loop.score_calibration import calibrate_predictions, check_settings
from ssal3d.loop.story import metrics_line, stage_line
from ssal3d.loop.summary import summarise
from ssal3d.models.loading import load_detector, newest_checkpoint
from ssal3d.predictions.pool_inference import predict_pool
from ssal3d.predictions.reader import find_parts
from ssal3d.registry import STAGES
from ssal3d.stages.run import train_stage, write_config
from ssal3d.stages.supervised import FrameBoxes, StageInputs, SupervisedStage, labelled_test_view, pool_view

# What the length of a training decides in its config; the one-cycle schedule depends on it from the first step.
LENGTH_KEYS = ('training.train_cfg.', 'training.param_scheduler')


@dataclass
class TrainedModel:
    """A finished stage.

    Attributes:
        name: Step of the journal, e.g. ``'round_1/normal'``.
        checkpoint: Its last checkpoint.
        predictions: Its predictions on the frames that were unlabelled when it was trained, if anybody needs them.
        labelled: Its predictions on the frames that it was trained on, if the sampler or the calibration wants them.
        ends: Whether a chain of stages ends with it.
        inputs: What the stage was given.
        calibrated: Its predictions with calibrated scores, if the query is to see those.
    """

    name: str
    checkpoint: Path
    ends: bool
    inputs: StageInputs
    predictions: Path | None = None
    labelled: Path | None = None
    calibrated: Path | None = None

    @property
    def queried(self) -> QueriedModel:
        """What a query reads of it; the last model of a round always predicts the pool."""
        assert self.predictions is not None
        return QueriedModel(self.calibrated or self.predictions, self.labelled)


@LOOPS.register_module()
class ActiveLearningLoop(BaseLoop):
    """Runs a semi-supervised active-learning experiment (spec/active_learning.md 1.1).

    Each round trains its ``pretrain`` stages one from another, the first from random weights; the query sees the
    predictions of the last one, and those of the first one for samplers that compare two models. The ``final`` stages
    start from random weights again; several chains of them share their beginnings. Every stage is an ordinary run in its
    own folder.

    Args:
        runner: The runner that drives the experiment.
        dataloader: Data loader config of the stages; nothing is loaded from it here.
        initial: ``sampler`` and ``query`` of the random start, e.g. ``query=dict(budget=200)``; or ``labels``, a label state
            of what is labelled already, and nothing is bought.
        rounds: One dict per query: ``pretrain`` (stage names) and, where they differ from the config's
            ``active_sampler`` and ``query``, ``sampler`` and ``query``, of which every key counts by itself.
        final: Stage names of the final training: one chain, or several to compare,
            e.g. ``[['supervised', 'semi'], ['supervised', 'hssda']]``.
        annotator: Config of who reveals labels.
        reuse: Work dirs of other experiments; a finished step that read the same there is taken over, not done again.
        held_out_report: Measure the first model, the final ones and their pseudo labels on the frames that stay
            unlabelled. Needs their ground truth, so it is for simulations; nothing is learnt or chosen from it.
        score_calibration: Calibrate the scores that a query sees on the labelled frames, e.g. ``dict(method='isotonic')``;
            see `ssal3d.loop.score_calibration`.
    """

    max_epochs = max_iters = 1
    epoch = iter = 0

    def __init__(
        self,
        runner: Runner,
        dataloader: Mapping[str, Any],
        initial: Mapping[str, Any],
        rounds: Sequence[Mapping[str, Any]],
        final: Chains,
        annotator: Mapping[str, Any],
        reuse: str | Sequence[str] = (),
        held_out_report: bool = False,
        score_calibration: Mapping[str, Any] | None = None,
    ) -> None:
        self._runner = runner
        self.dataloader = dataloader
        self.config: Config = runner.cfg
        self.work_dir = Path(runner.work_dir).resolve()
        self.initial = initial
        self.rounds = rounds
        self.final = final
        self.annotator = annotator
        self.prediction = dict(self.config.get('pool_dataloader', {}))
        self.held_out_report = held_out_report
        check_settings(score_calibration)
        self.score_calibration = score_calibration
        check_entries(self.config, initial, rounds)
        check_annotator(self.config, annotator)
        self.stages = self._build_stages()
        check_abilities(self.config, self.rounds, self.stages)
        self.journal = Journal(self.work_dir)
        self.finished = FinishedSteps((reuse,) if isinstance(reuse, str) else tuple(reuse))
        if self.journal.steps and not self.config.get('resume'):
            raise UserError(
                f'{self.work_dir}: holds an experiment; add --resume to go on, or choose another --work-dir'
            )

    def run(self) -> nn.Module:
        """Do every step that the journal does not list yet, then print the summary.

        Raises:
            UserError: If another run works in the same folder.
        """
        with exclusive(self.work_dir, '--work-dir') if is_main_process() else nullcontext():
            self._run()
        return self.runner.model

    def _run(self) -> None:
        if is_main_process():
            write_card(self.config, self.work_dir, sys.argv)
        labels = self._labels(self._step('initial', self._query_reads(0, self.initial), self._buy_initial))
        if is_main_process():
            refuse_labels(self.config, labels)
        trained: list[TrainedModel] = []
        for number, entry in enumerate(self.rounds, 1):
            sampler = build_sampler(self.config, entry)
            projection = settings_of(self.config, entry, number).projection_fields
            models = self._train(f'round_{number}', [entry['pretrain']], labels, sampler, projection)
            if self.score_calibration:
                self._calibrate(models)
            reads = self._query_reads(number, entry, labels, models)
            step = self._step(f'round_{number}/query', reads, partial(self._buy, number, entry, models, labels))
            labels = self._labels(step)
            trained += models
        final = self._train('final', self.final, labels, RandomSampler(), predict_ends=self.held_out_report)
        barrier()
        if is_main_process():
            shown = [*(trained or final)[:1], *(model for model in final if model.ends)] if self.held_out_report else []
            measured = {model.name: model for model in shown}.values()
            held_out = {model.name: model.predictions for model in measured if model.predictions is not None}
            summarise(self.config, self.journal, self.work_dir, labels, held_out, self._pseudo_labels(measured))

    def _pseudo_labels(self, models: Iterable[TrainedModel]) -> dict[str, FrameBoxes]:
        """Return what the stages of models took for labels; stages that take nothing are left out."""
        found = {}
        for model in models:
            stage = self.stages[Path(model.name).name]
            labels = stage.pseudo_labels(stage.build_config(self.config, model.inputs), model.inputs)
            if labels is not None:
                found[model.name] = labels
        return found

    def _train(
        self,
        group: str,
        chains: Chains,
        labels: Path,
        sampler: ActiveSampler,
        projection: Sequence[str] = (),
        predict_ends: bool = True,
    ) -> list[TrainedModel]:
        """Train stages one from another; predict the unlabelled pool where a stage, the query or the report needs it.

        Only the end of a chain is queried, so only its predictions hold the sampler's columns and the labelled frames.
        """
        models: dict[str, TrainedModel] = {}
        for place in plan(chains):
            previous = models[place.previous] if place.previous else None
            inputs = StageInputs(
                self.work_dir / group / place.name,
                labels,
                previous.checkpoint if previous else None,
                previous.predictions if previous else None,
                self.prediction,
            )
            stage = self.stages[place.name]
            config = stage.build_config(self.config, inputs)
            name = f'{group}/{place.name}'
            step = self._step(
                name,
                self._stage_reads(config, inputs),
                partial(self._train_stage, stage, config, name, inputs, place.previous),
            )
            if 'taken_from' in step:
                write_config(config)  # for reruns by hand: the other experiment's names its own folders
            config = stage.detector_config(config)
            model = models[place.name] = TrainedModel(name, self._path(step['checkpoint']), place.ends, inputs)
            columns = self._columns_to_predict(group, place, sampler, projection, predict_ends)
            if columns is not None:
                model.predictions = self._predict(model, config, pool_view(config, inputs), sampler, columns)
            compared = place.ends or (place.previous is None and sampler.uses_reference)
            looked_at = sampler.uses_labelled or (place.ends and sampler.needs_labelled)
            if compared and group != 'final' and (looked_at or self.score_calibration is not None):
                view = labelled_test_view(config, inputs)
                model.labelled = self._predict(model, config, view, sampler, sampler.labelled_fields, 'labelled')
        return list(models.values())

    def _columns_to_predict(
        self, group: str, place: Place, sampler: ActiveSampler, projection: Sequence[str], predict_ends: bool
    ) -> list[str] | None:
        """Return the columns that somebody reads of a stage's predictions of the pool, None if nobody reads any."""
        readers = [stage for name in place.following if (stage := self.stages[name]).uses_predictions]
        starts = place.previous is None and not place.ends
        compared = starts and sampler.uses_reference
        reported = starts and self.held_out_report and group == ('round_1' if self.rounds else 'final')
        queried = place.ends and predict_ends
        if not (readers or compared or reported or queried):
            return None
        columns = [*(sampler.reference_fields if compared else ()), *(sampler.required_fields if queried else ())]
        columns += projection if queried else ()
        return list(dict.fromkeys((*columns, *(field for stage in readers for field in stage.prediction_fields))))

    def _calibrate(self, models: Sequence[TrainedModel]) -> None:
        """Let the query see calibrated scores of every model whose predictions it may read."""
        settings = self.score_calibration
        assert settings is not None
        for model in models:
            if model.predictions is None or model.labelled is None:
                continue
            stage = self.work_dir / model.name
            folder, given = stage.with_name(f'calibrated_{stage.name}'), (model.predictions, model.labelled)
            reads = {
                'settings': neutral(settings, {}),
                'predictions': [self._predictions_digest(path) for path in given],
                'pool': neutral(dict(self.config.pool_dataset, pipeline=[]), {}),
            }
            known = stage.with_name(f'calibrated_labelled_{stage.name}')
            work = partial(calibrate_predictions, self.config, settings, *given, folder, known)
            self._step(str(folder.relative_to(self.work_dir)), reads, work)
            model.calibrated, model.labelled = folder, known

    def _labels(self, step: Mapping[str, Any]) -> Path:
        """Return the label state of a step; if people drew its boxes, from here on the pool's annotations are theirs."""
        if 'annotations' in step:
            self.config.pool_dataset.ann_file = str(self._path(step['annotations']))
        return self._path(step['labels'])

    def _buy_initial(self) -> dict[str, Any]:
        if self.initial.get('labels'):
            return take_labels(
                self.config, self.initial['labels'], self.annotator if self.rounds else None, self.work_dir
            )
        return buy_initial_frames(self.config, self.initial, self.annotator, self.work_dir)

    def _buy(
        self, number: int, entry: Mapping[str, Any], models: Sequence[TrainedModel], labels: Path
    ) -> dict[str, Any]:
        return buy_frames(
            self.config,
            number,
            entry,
            self.annotator,
            self.work_dir,
            labels,
            model=models[-1].queried,
            reference=models[0].queried if len(models) > 1 and models[0].predictions else None,
        )

    def _stage_reads(self, config: Config, inputs: StageInputs) -> dict[str, Any]:
        """Return what the training of a stage depends on."""
        folders = {inputs.work_dir: '<stage>'}
        if inputs.predictions:
            folders[inputs.predictions] = '<predictions>'
        return {
            'training': training_content(config, folders),
            'weights': file_digest(inputs.load_from) if inputs.load_from else None,
            'predictions': self._predictions_digest(inputs.predictions),
        }

    def _query_reads(
        self,
        number: int,
        entry: Mapping[str, Any],
        labels: Path | None = None,
        models: Sequence[TrainedModel] = (),
    ) -> dict[str, Any]:
        """Return what a query depends on."""
        predictions = [path for model in models for path in (model.calibrated or model.predictions, model.labelled)]
        return {
            'round': number,
            **query_reads(self.config, entry, number, self.annotator),
            'labels': file_digest(labels) if labels else None,
            'predictions': [self._predictions_digest(path) for path in predictions],
        }

    def _predictions_digest(self, folder: Path | None) -> str | None:
        return digest_of_folder(folder) if folder else None

    def _train_stage(
        self, stage: SupervisedStage, config: Config, name: str, inputs: StageInputs, start: str | None
    ) -> dict[str, Any]:
        tell(stage_line(name, type(stage).__name__, inputs.labels, start))
        metrics = train_stage(config, f'{self.runner.experiment_name}/{name}')
        if line := metrics_line(metrics, config.pool_dataset.metainfo['classes']):
            tell(f'{name}: {line}')
        return {'files': {'checkpoint': stage.result(config)}, 'metrics': metrics}

    def _predict(
        self,
        model: TrainedModel,
        config: Config,
        view: Mapping[str, Any],
        sampler: ActiveSampler,
        columns: Sequence[str],
        kind: str = 'predictions',
    ) -> Path:
        """Predict the frames of a view into ``<kind>_<stage>`` beside the stage's folder, and return that folder."""
        stage = self.work_dir / model.name
        folder = stage.with_name(f'{kind}_{stage.name}')
        name = str(folder.relative_to(self.work_dir))

        def work() -> dict[str, Any]:
            timing = predict_pool(
                load_detector(config, model.checkpoint),
                DATASETS.build(view),
                folder,
                fields=columns,
                extraction=sampler.extraction,
                metadata={'checkpoint_sha256': sha256(model.checkpoint)},
                description=f'predicting {name}',
                **self.prediction,
            )
            tell(f'{name}: {timing}')
            return {'files': {'predictions': find_parts(folder)}, 'timing': vars(timing)}

        reads = {
            'model': neutral(config.model, {}),
            'weights': file_digest(model.checkpoint),
            'view': neutral(view, {}),
            'columns': list(columns),
            'extraction': neutral(sampler.extraction, {}),
        }
        self._step(name, reads, work)
        return folder

    def _step(self, name: str, reads: Mapping[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do a step unless this journal has it or one of another experiment; record ``files`` by role, and facts."""
        barrier()
        entry = self.journal.find(name, reads)
        if entry is None and (found := self.finished.find(name, reads)):
            return self._take_over(name, reads, *found)
        if entry is None:
            self._check_started(name, reads)
            start = time.monotonic()
            facts = work()
            barrier()
            entry = self._record(name, reads, seconds=round(time.monotonic() - start, 1), **facts)
        return entry

    def _record(self, name: str, reads: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
        entry = self.journal.record(name, reads, write=is_main_process(), **facts)
        barrier()
        return entry

    def _take_over(self, name: str, reads: Mapping[str, Any], source: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Bring a step of another experiment here and record where it comes from."""
        tell(f'{name}: taken from {source}, where it read the same')
        if is_main_process():
            self.journal.begin(name, reads)
            take_over(source, entry, self.work_dir)
        barrier()
        facts = {key: value for key, value in entry.items() if key not in ('step', 'digest', 'files')}
        files = {
            role: find_parts(self._path(path)) if self._path(path).is_dir() else self._path(path)
            for role, path in facts.items()
            if isinstance(path, str) and any(file == path or file.startswith(f'{path}/') for file in entry['files'])
        }
        facts = {key: value for key, value in facts.items() if key not in files}
        return self._record(name, reads, files=files, **{**facts, 'taken_from': str(source)})

    def _check_started(self, name: str, reads: Mapping[str, Any]) -> None:
        """Compare with what an unfinished step was started with; a training of another length begins again.

        Raises:
            UserError: If a stage has checkpoints of a training with other settings.
        """
        begun, folder = self.journal.begun(name), self.work_dir / name
        trained = folder.is_dir() and newest_checkpoint(folder) is not None
        changed = list(differences(begun, reads)) if begun and trained else []
        if any(not key.startswith(LENGTH_KEYS) for key, _, _ in changed):
            raise self.journal.changed(name, reads, 'has started')
        barrier()  # every process has looked
        if is_main_process():
            if changed:
                key, old, new = changed[0]
                tell(f'{name}: {key} was {old}, now it is {new}; the stage begins again', logging.WARNING)
                remove(folder)
            self.journal.begin(name, reads)
        barrier()

    def _path(self, relative: str) -> Path:
        return self.work_dir / relative

    def _build_stages(self) -> dict[str, SupervisedStage]:
        configs = self.config.get('stages', {})
        stages = {}
        for chains in (*([entry['pretrain']] for entry in self.rounds), self.final):
            for place in plan(chains):
                if place.name not in configs:
                    raise unknown_name('stage', place.name, list(configs))
                stages[place.name] = STAGES.build(dict(configs[place.name]))
        return stages
