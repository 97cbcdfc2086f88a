"""The experiment as an mmengine loop: initial frames, rounds of pre-training and querying, final training."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, Runner
from torch import nn

from ssal3d.active import ActiveSampler, RandomSampler
from ssal3d.distributed import barrier
from ssal3d.errors import UserError, unknown_name
from ssal3d.fileio import exclusive, sha256
from ssal3d.loop.chains import Chains, Place, plan
from ssal3d.loop.journal import Journal
from ssal3d.loop.querying import build_sampler, buy_frames, buy_initial_frames
from ssal3d.loop.summary import summarise
from ssal3d.models.loading import load_detector
from ssal3d.predictions.pool_inference import predict_pool
from ssal3d.registry import STAGES
from ssal3d.stages.run import train_stage
from ssal3d.stages.supervised import FrameBoxes, StageInputs, SupervisedStage, labelled_test_view, pool_view


@dataclass
class TrainedModel:
    """A finished stage.

    Attributes:
        name: Step of the journal, e.g. ``'round_1/normal'``.
        checkpoint: Its last checkpoint.
        predictions: Its predictions on the frames that were unlabelled when it was trained, if anybody needs them.
        labelled: Its predictions on the frames that it was trained on, if the sampler compares with them.
        ends: Whether a chain of stages ends with it.
        inputs: What the stage was given.
    """

    name: str
    checkpoint: Path
    ends: bool
    inputs: StageInputs
    predictions: Path | None = None
    labelled: Path | None = None


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
        initial: ``sampler`` and ``budget`` of the random start.
        rounds: One dict per query: ``pretrain`` (stage names) and, where they differ from the config's
            ``active_sampler`` and ``budget``, ``sampler`` and ``budget``.
        final: Stage names of the final training: one chain, or several to compare,
            e.g. ``[['supervised', 'semi'], ['supervised', 'hssda']]``.
        annotator: Config of who reveals labels.
        prediction: Arguments of `predict_pool`, ``batch_size``, ``num_workers``, ``frames_per_part``.
        held_out_report: Measure the first model, the final ones and their pseudo labels on the frames that stay
            unlabelled. Needs their ground truth, so it is for simulations; nothing is learnt or chosen from it.
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
        prediction: Mapping[str, Any] | None = None,
        held_out_report: bool = False,
    ) -> None:
        self._runner = runner
        self.dataloader = dataloader
        self.config: Config = runner.cfg
        self.work_dir = Path(runner.work_dir).resolve()
        self.initial = initial
        self.rounds = rounds
        self.final = final
        self.annotator = annotator
        self.prediction = dict(prediction or {})
        self.held_out_report = held_out_report
        self.stages = self._build_stages()
        identity = {key: self.config.get(key) for key in ('train_cfg', 'stages', 'model', 'randomness', 'pool_dataset')}
        self.journal = Journal(self.work_dir / 'journal.json', identity)
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
        labels = self._path(self._step('initial', self._buy_initial)['labels'])
        trained: list[TrainedModel] = []
        for number, entry in enumerate(self.rounds, 1):
            sampler = build_sampler(self.config, entry)
            models = self._train(f'round_{number}', [entry['pretrain']], labels, sampler)
            step = self._step(f'round_{number}/query', lambda: self._buy(number, entry, models, labels))  # noqa: B023
            labels = self._path(step['labels'])
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
        self, group: str, chains: Chains, labels: Path, sampler: ActiveSampler, predict_ends: bool = True
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
            step = self._step(name, lambda: self._train_stage(stage, config, name))  # noqa: B023
            config = stage.detector_config(config)
            model = models[place.name] = TrainedModel(name, self._path(step['checkpoint']), place.ends, inputs)
            columns = self._columns_to_predict(group, place, sampler, predict_ends)
            if columns is not None:
                model.predictions = self._predict(model, config, pool_view(config, inputs), sampler, columns)
            if place.ends and sampler.needs_labelled:
                view = labelled_test_view(config, inputs)
                model.labelled = self._predict(model, config, view, sampler, sampler.labelled_fields, 'labelled')
        return list(models.values())

    def _columns_to_predict(
        self, group: str, place: Place, sampler: ActiveSampler, predict_ends: bool
    ) -> list[str] | None:
        """Return the columns that somebody reads of a stage's predictions of the pool, None if nobody reads any."""
        readers = [stage for name in place.following if (stage := self.stages[name]).uses_predictions]
        starts = place.previous is None and not place.ends
        compared = starts and sampler.uses_reference
        reported = starts and self.held_out_report and group == ('round_1' if self.rounds else 'final')
        queried = place.ends and predict_ends
        if not (readers or compared or reported or queried):
            return None
        columns = [*(sampler.reference_fields if compared else ()), *(sampler.fields_to_read() if queried else ())]
        return list(dict.fromkeys((*columns, *(field for stage in readers for field in stage.prediction_fields))))

    def _buy_initial(self) -> dict[str, Any]:
        return buy_initial_frames(self.config, self.initial, self.annotator, self.work_dir)

    def _buy(
        self, number: int, entry: Mapping[str, Any], models: Sequence[TrainedModel], labels: Path
    ) -> dict[str, Any]:
        assert models[-1].predictions is not None  # the last model of a round always predicts the pool
        return buy_frames(
            self.config,
            number,
            entry,
            self.annotator,
            self.work_dir,
            labels,
            predictions=models[-1].predictions,
            reference=models[0].predictions if len(models) > 1 else None,
            labelled=models[-1].labelled,
        )

    def _train_stage(self, stage: SupervisedStage, config: Config, name: str) -> dict[str, Any]:
        metrics = train_stage(config, f'{self.runner.experiment_name}/{name}')
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
            self.runner.logger.info(f'{name}: {timing}')
            return {'files': {}, 'timing': vars(timing)}

        self._step(name, work)
        return folder

    def _step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do a step unless the journal has it, and record it: ``files`` by role, and further facts."""
        barrier()
        entry = self.journal.find(name)
        if entry is None:
            self.runner.logger.info(f'--- {name}')
            start = time.monotonic()
            facts = work()
            barrier()
            entry = self.journal.record(
                name, seconds=round(time.monotonic() - start, 1), write=is_main_process(), **facts
            )
            barrier()
        return entry

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
