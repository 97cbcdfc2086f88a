"""What an experiment reports: its card, every query, tables and `metrics.json` at the end."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ssal3d.active.query.query_file import Query
from ssal3d.data.label_state import LabelState
from ssal3d.log import tell
from ssal3d.loop.card import write_card
from ssal3d.loop.chains import StageNode
from ssal3d.loop.held_out import measure_predictions, measure_pseudo_labels
from ssal3d.loop.hooks import LoopHook
from ssal3d.loop.story import tell_query
from ssal3d.loop.summary import METRICS, summarise
from ssal3d.loop.trained_model import TrainedModel


@HOOKS.register_module()
class ExperimentReportHook(LoopHook):
    """Writes the card when the experiment begins, prints the tables and writes `metrics.json` when it ends.

    Every experiment has it.
    """

    def before_experiment(self, runner: Runner) -> None:
        """Write ``experiment.json``; ``metrics.json`` of an earlier end goes, as it says that all is done."""
        if is_main_process():
            folder = runner.train_loop.work_dir
            (folder / METRICS).unlink(missing_ok=True)
            write_card(runner.train_loop.config, folder, sys.argv)

    def after_experiment(self, runner: Runner, labels: Path, models: Sequence[TrainedModel]) -> None:
        """Print what was trained, bought and promoted; write ``metrics.json``."""
        if is_main_process():
            loop = runner.train_loop
            summarise(loop.config, loop.steps.journal, loop.work_dir, labels, models, loop.measured)


@HOOKS.register_module()
class QueryReportHook(LoopHook):
    """Prints what a query bought, its warnings and its table; the log also names the frames in their order.

    Every experiment has it.
    """

    def after_query(self, runner: Runner, number: int, query: Query | None, entry: Mapping[str, Any]) -> None:
        """Tell about the query."""
        if query is None or not is_main_process():
            return
        tell_query(query)
        tell(f'frames bought in this order: {", ".join(query.frame_ids)}', terminal=False)


@HOOKS.register_module()
class HeldOutReportHook(LoopHook):
    """Measures the first model, the final ones and their pseudo labels on the frames that nobody labelled.

    Needs the ground truth of these frames, so it is for simulations; nothing is learnt or chosen from it. A config asks
    for it with ``train_cfg = dict(held_out_report=True)``.
    """

    priority = 'VERY_HIGH'  # before `metrics.json` is written

    def wants_predictions(self, runner: Runner, group: str, place: StageNode) -> bool:
        """Return whether a stage is the first one or ends a final chain."""
        first = 'round_1' if runner.train_loop.rounds else 'final'
        return (group == first and place.previous is None) or (_is_final(group) and place.is_last)

    def after_experiment(self, runner: Runner, labels: Path, models: Sequence[TrainedModel]) -> None:
        """Measure ``held_out`` and ``pseudo_labels`` for the tables and ``metrics.json``."""
        loop = runner.train_loop
        shown = [*models[:1], *(model for model in models if model.is_last and _is_final(model.group))]
        measured = {model.name: model for model in shown}
        metrics = {}
        for name, model in measured.items():  # in every process: a stage may share the frames among them
            stage = loop.stages[model.stage]
            taken = stage.pseudo_labels(stage.build_config(loop.config, model.inputs), model.inputs)
            if taken is not None:
                metrics[name] = taken
        if not is_main_process():
            return
        state = LabelState.read(labels)
        folders = {name: model.predictions for name, model in measured.items() if model.predictions is not None}
        if found := measure_predictions(loop.config, state, folders):
            loop.measured['held_out'] = found
        if metrics and (quality := measure_pseudo_labels(loop.config, state, metrics)):
            loop.measured['pseudo_labels'] = quality


def _is_final(group: str) -> bool:
    return group == 'final' or group.startswith('final_')
