"""The experiment as an mmengine loop: initial frames, rounds of pre-training and querying, final training."""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, Runner
from torch import nn

from ssal3d.active import ActiveSampler, RandomSampler
from ssal3d.active.query.inputs import digest_of_folder
from ssal3d.active.query.query_file import Query
from ssal3d.checks.labels import refuse_labels
from ssal3d.data.label_state import LabelState
from ssal3d.distributed import barrier
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import exclusive, file_digest, remove_leftovers
from ssal3d.log import tell
from ssal3d.loop.abilities import check_abilities
from ssal3d.loop.chains import Chains, StageNode, order_stages
from ssal3d.loop.digests import differences, neutral, own_code, training_content
from ssal3d.loop.guard import Guard
from ssal3d.loop.hooks import loop_hooks, without_loop_hooks
from ssal3d.loop.page_hooks import CurveHook, PageHook
from ssal3d.loop.predicting import Predictor
from ssal3d.loop.promotion import Promotions
from ssal3d.loop.querying import (
    build_sampler,
    buy_frames,
    buy_initial_frames,
    check_annotator,
    check_entries,
    query_reads,
    settings_of,
    take_labels,
)
from ssal3d.loop.report_hooks import ExperimentReportHook, HeldOutReportHook, QueryReportHook
from ssal3d.loop.score_calibration import check_settings
from ssal3d.loop.start import StartFrom, prepare_start
from ssal3d.loop.steps import Steps
from ssal3d.loop.story import metrics_line, stage_line
from ssal3d.loop.trained_model import TrainedModel
from ssal3d.registry import STAGES
from ssal3d.stages.run import train_stage, validate_stage, write_config
from ssal3d.stages.supervised import StageInputs, SupervisedStage


@LOOPS.register_module()
class ActiveLearningLoop(BaseLoop):
    """Runs a semi-supervised active-learning experiment (S-SSAL, Wang et al. 2025, arXiv 2501.15449).

    Each round trains its ``pretrain`` stages one from another, the first from random weights; the query sees the
    predictions of the last one, and those of the first one for samplers that compare two models. The ``final`` stages
    start from random weights again; several chains of them share their beginnings. Every stage is an ordinary run in
    its own folder.

    Args:
        runner: The runner that drives the experiment.
        dataloader: Data loader config of the stages; nothing is loaded from it here.
        initial: ``sampler`` and ``query`` of the random start, e.g. ``query=dict(budget=200)``; or ``labels``, a label
            state of what is labelled already, and nothing is bought.
        rounds: One dict per query: ``pretrain`` (stage names) and, where they differ from the config's
            ``active_sampler`` and ``query``, ``sampler`` and ``query``, of which every key counts by itself.
        final: Stage names of the final training: one chain, or several to compare,
            e.g. ``[['supervised', 'final_cpsp'], ['supervised', 'hssda']]``.
        annotator: Config of who reveals labels.
        reuse: Work dirs of other experiments; a finished step that read the same there is taken over, not done again.
        held_out_report: Register `HeldOutReportHook`, which measures models on the frames that stay unlabelled. Needs
            their ground truth, so it is for simulations; nothing is learnt or chosen from it.
        score_calibration: Calibrate the scores that a query sees on the labelled frames, e.g.
            ``dict(method='isotonic')``; see `ssal3d.loop.score_calibration`.
        final_every_round: Train the final stages after every round (``final_1``, ..., ``final``), for learning curves.
        start_from: Checkpoint to begin with, a path or a dict, see `ssal3d.loop.start.StartFrom`.
        guard: Do not promote a model that falls below its predecessor on the val split: True, or a dict, see
            `ssal3d.loop.guard.Guard`. The query then sees the predecessor's predictions.
    """

    starts_runs = True  # the runner's own model stays where it was built
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
        final_every_round: bool = False,
        start_from: str | Mapping[str, Any] | None = None,
        guard: bool | Mapping[str, Any] | None = None,
    ) -> None:
        self._runner = runner
        self.dataloader = dataloader
        self.config: Config = without_loop_hooks(runner.cfg)
        self.work_dir = Path(runner.work_dir).resolve()
        self.initial = initial
        self.rounds = rounds
        self.final = final
        self.annotator = annotator
        self.prediction = dict(self.config.get('pool_dataloader', {}))
        check_settings(score_calibration)
        self.final_every_round = final_every_round
        self.start_from = StartFrom.of(start_from)
        self.start: TrainedModel | None = None
        self.measured: dict[str, Any] = {}  # of hooks, for metrics.json
        check_entries(self.config, initial, rounds)
        check_annotator(self.config, annotator)
        self.stages = self._build_stages()
        check_abilities(self.config, self.rounds, self.stages)
        reuse = (reuse,) if isinstance(reuse, str) else tuple(reuse)
        self.steps = Steps(self.work_dir, reuse, own_code(self.config))
        self.predictor = Predictor(self.config, self.steps, self.prediction, score_calibration)
        self.promotions = Promotions(self.steps, self.predictor, Guard.of(guard))
        if self.steps.journal.steps and not self.config.get('resume'):
            raise UserError(
                f'{self.work_dir}: holds an experiment; add --resume to go on, or choose another --work-dir'
            )
        runner.register_hook(ExperimentReportHook(), priority='HIGH')
        runner.register_hook(QueryReportHook(), priority='HIGH')
        runner.register_hook(CurveHook())
        runner.register_hook(PageHook())
        if held_out_report:
            runner.register_hook(HeldOutReportHook())

    def run(self) -> nn.Module:
        """Do every step that the journal does not list yet; hooks report.

        Raises:
            UserError: If another run works in the same folder.
        """
        with exclusive(self.work_dir, '--work-dir') if is_main_process() else nullcontext():
            if is_main_process():
                remove_leftovers(self.work_dir, deep=True)
            self._run()
        return self.runner.model

    def _run(self) -> None:
        self._check_finished_queries()
        self.runner.call_hook('before_experiment')
        labels = self._query(0, self.initial)
        untrained = (
            self.start_from is not None and self.start_from.use == 'model' and not LabelState.read(labels).frames
        )
        if is_main_process() and not untrained:
            refuse_labels(self.config, labels)
        if self.start_from:
            self.start = self.promotions.start = self._begin(self.start_from, labels)
        trained: list[TrainedModel] = []
        for number, entry in enumerate(self.rounds, 1):
            sampler = self._sampler(entry)
            projection = settings_of(self.config, entry, number).projection_fields
            models = self._train(f'round_{number}', [entry['pretrain']], labels, sampler, projection)
            queried = self.promotions.queried(number, models, labels, sampler, projection)
            self.predictor.calibrate(queried)
            labels = self._query(number, entry, queried, labels)
            if self.final_every_round and number < len(self.rounds):
                models = [*models, *self._train_final(f'final_{number}', labels)]
            trained += models
            self.runner.call_hook('after_round', number=number, labels=labels, models=models)
        trained += self._train_final('final', labels)
        barrier()
        self.runner.call_hook('after_experiment', labels=labels, models=trained)

    def _check_finished_queries(self) -> None:
        """Refuse the folder of another experiment before anything is written into it.

        What queries are made of tells experiments apart, and is known before the first step.

        Raises:
            UserError: If a query is finished and was made with other settings.
        """
        finished = {step['step'] for step in self.steps.journal.steps}
        for number, entry in enumerate((self.initial, *self.rounds)):
            name = _query_step(number)
            if name not in finished or not (before := self.steps.journal.begun(name)):
                continue
            now = query_reads(self.config, entry, number, self.annotator)
            if number:  # where people drew boxes, the pool's annotation file is another one by then
                del now['pool']
            if any(differences({key: before.get(key) for key in now}, json.loads(json.dumps(now)))):
                raise self.steps.journal.changed(name, before | now, 'is finished')

    def _begin(self, start: StartFrom, labels: Path) -> TrainedModel:
        """Bring the weights to begin with into the experiment, and measure them where the guard or a round needs it."""
        path = self.work_dir / 'start' / 'detector.pth'
        name = order_stages([self.rounds[0]['pretrain']] if self.rounds else self.final)[0].name
        inputs, stage = StageInputs(path.parent, labels, path, None, self.prediction), self.stages[name]
        config = stage.detector_config(stage.build_config(self.config, inputs))
        measured = self.promotions.guard is not None or start.use == 'model'

        def work() -> dict[str, Any]:
            prepare_start(self.config, start, path)
            barrier()
            metrics = validate_stage(config, f'{self.runner.experiment_name}/start') if measured else {}
            return {'files': {'checkpoint': path}, 'metrics': metrics}

        reads = {
            'weights': file_digest(start.checkpoint),
            'keys': dict(start.keys),
            'partial': start.partial,
            'model': neutral(self.config.model, {}),
            'measured': neutral(config.val_evaluator, {}) if measured else None,
        }
        entry = self.steps.do('start', reads, work)
        return TrainedModel('start', path, True, inputs, config, entry['metrics'])

    def _query(
        self,
        number: int,
        entry: Mapping[str, Any],
        models: Sequence[TrainedModel] = (),
        labels: Path | None = None,
    ) -> Path:
        """Buy frames and return the new label state."""
        name = _query_step(number)
        work = partial(self._buy, number, entry, models, labels) if labels else self._buy_initial

        def tell_hooks(step: Mapping[str, Any]) -> None:
            query = Query.read(self.steps.path(step['query'])) if 'query' in step else None
            self.runner.call_hook('after_query', number=number, query=query, entry=step)

        step = self.steps.do(name, self._query_reads(number, entry, labels, models), work, tell_hooks)
        if 'annotations' in step:  # people drew the boxes: from here on the pool's annotations are theirs
            self.config.pool_dataset.ann_file = str(self.steps.path(step['annotations']))
        return self.steps.path(step['labels'])

    def _train_final(self, group: str, labels: Path) -> list[TrainedModel]:
        """Train the final stages on everything that was bought so far."""
        models = self._train(group, self.final, labels, RandomSampler(), predict_last=False)
        for model in models:
            if model.is_last:
                self.promotions.decide(f'final/{model.stage}', f'{group}/promotion_{model.stage}', [model])
        return models

    def _train(
        self,
        group: str,
        chains: Chains,
        labels: Path,
        sampler: ActiveSampler,
        projection: Sequence[str] = (),
        predict_last: bool = True,
    ) -> list[TrainedModel]:
        """Train stages one from another; predict the unlabelled pool where a stage, the query or the report needs it.

        Only the end of a chain is queried, so only its predictions hold the sampler's columns and the labelled frames.
        """
        models: dict[str, TrainedModel] = {}
        for place in order_stages(chains):
            previous = models[place.previous] if place.previous else None
            model = models[place.name] = self._stage(group, place, labels, previous or self.start)
            columns = self._columns_to_predict(group, place, sampler, projection, predict_last)
            if columns is not None:
                self.predictor.predict_unlabelled(model, sampler, columns)
            compared = place.is_last or (place.previous is None and sampler.uses_reference)
            if compared and predict_last:
                self.predictor.predict_labelled(model, sampler)
        return list(models.values())

    def _stage(self, group: str, place: StageNode, labels: Path, previous: TrainedModel | None) -> TrainedModel:
        """Train a stage, unless the model to begin with stands for it."""
        stage, name = self.stages[place.name], f'{group}/{place.name}'
        inputs = StageInputs(
            self.work_dir / group / place.name,
            labels,
            previous.checkpoint if previous else None,
            previous.predictions if previous else None,
            self.prediction,
        )
        config = stage.build_config(self.config, inputs)
        stands_for = previous is not None and place.previous is None and group == 'round_1'
        if stands_for and self.start_from and self.start_from.use == 'model':
            assert previous is not None
            facts = {'files': {'checkpoint': previous.checkpoint}, 'metrics': dict(previous.metrics)}
            step = self.steps.do(name, {'weights': file_digest(previous.checkpoint)}, lambda: facts)
        else:
            start = place.previous or (previous.name if previous else None)
            step = self.steps.do(
                name,
                self._stage_reads(config, inputs),
                partial(self._train_stage, stage, config, name, inputs, start),
                lambda entry: self.runner.call_hook('after_stage', stage=name, entry=entry),
            )
            if 'taken_from' in step:
                write_config(config)  # for reruns by hand: the other experiment's names its own folders
        checkpoint = self.steps.path(step['checkpoint'])
        return TrainedModel(name, checkpoint, place.is_last, inputs, stage.detector_config(config), step['metrics'])

    def _columns_to_predict(
        self, group: str, place: StageNode, sampler: ActiveSampler, projection: Sequence[str], predict_last: bool
    ) -> list[str] | None:
        """Return the columns that somebody reads of a stage's predictions of the pool, None if nobody reads any."""
        following = [self.stages[name].prediction_fields for name in place.following]
        read = [fields for fields in following if fields is not None]
        starts = place.previous is None and not place.is_last
        compared = starts and sampler.uses_reference
        reported = any(hook.wants_predictions(self.runner, group, place) for hook in loop_hooks(self.runner))
        queried = place.is_last and predict_last
        if not (read or compared or reported or queried):
            return None
        columns = [*(sampler.reference_fields if compared else ()), *(sampler.required_fields if queried else ())]
        columns += projection if queried else ()
        return list(dict.fromkeys((*columns, *(field for fields in read for field in fields))))

    def _buy_initial(self) -> dict[str, Any]:
        if self.initial.get('labels'):
            return take_labels(
                self.config, self.initial['labels'], self.annotator if self.rounds else None, self.work_dir
            )
        return buy_initial_frames(self.config, self.initial, self.annotator, self.work_dir)

    def _buy(
        self, number: int, entry: Mapping[str, Any], models: Sequence[TrainedModel], labels: Path
    ) -> dict[str, Any]:
        first = models[0]
        compared = len(models) > 1 and first.predictions and self._sampler(entry).uses_reference
        return buy_frames(
            self.config,
            number,
            entry,
            self.annotator,
            self.work_dir,
            labels,
            model=models[-1].queried,
            reference=first.queried if compared else None,
        )

    def _sampler(self, entry: Mapping[str, Any]) -> ActiveSampler:
        """Return the sampler of a round; it looks at a second model only if it does so after the round's last stage."""
        sampler, last = build_sampler(self.config, entry), order_stages([entry['pretrain']])[-1]
        sampler.uses_reference = sampler.reads_reference(type(self.stages[last.name]).__name__)
        return sampler

    def _stage_reads(self, config: Config, inputs: StageInputs) -> dict[str, Any]:
        """Return what the training of a stage depends on."""
        folders = {inputs.work_dir: '<stage>'}
        if inputs.pool_predictions:
            folders[inputs.pool_predictions] = '<predictions>'
        return {
            'training': training_content(config, folders),
            'weights': file_digest(inputs.load_from) if inputs.load_from else None,
            'predictions': digest_of_folder(inputs.pool_predictions) if inputs.pool_predictions else None,
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
            'predictions': [digest_of_folder(path) if path else None for path in predictions],
        }

    def _train_stage(
        self, stage: SupervisedStage, config: Config, name: str, inputs: StageInputs, start: str | None
    ) -> dict[str, Any]:
        if not LabelState.read(inputs.labels).frames:
            raise UserError(
                f'{name}: no frame is labelled yet; raise the initial budget, or set start_from.use to "model"'
            )
        tell(stage_line(name, type(stage).__name__, inputs.labels, start))
        self.runner.call_hook('before_stage', stage=name, config=config)
        metrics = train_stage(config, f'{self.runner.experiment_name}/{name}')
        if line := metrics_line(metrics, config.pool_dataset.metainfo['classes']):
            tell(f'{name}: {line}')
        return {'files': {'checkpoint': stage.result(config)}, 'metrics': metrics}

    def _build_stages(self) -> dict[str, SupervisedStage]:
        configs = self.config.get('stages', {})
        stages = {}
        for chains in (*([entry['pretrain']] for entry in self.rounds), self.final):
            for place in order_stages(chains):
                if place.name not in configs:
                    raise unknown_name('stage', place.name, list(configs))
                stages[place.name] = STAGES.build(dict(configs[place.name]))
        return stages


def _query_step(number: int) -> str:
    return f'round_{number}/query' if number else 'initial'
