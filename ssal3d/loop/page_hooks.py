"""Hooks that let people look at an experiment: its page, and its curves in the tools that MMEngine writes to."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ssal3d.data.label_state import LabelState
from ssal3d.log import tell
from ssal3d.loop.hooks import LoopHook
from ssal3d.loop.trained_model import TrainedModel
from ssal3d.report import write_report

PAGE = 'report.html'


@HOOKS.register_module()
class PageHook(LoopHook):
    """Writes ``report.html`` at the end of an experiment, as ``ssal3d report`` does.

    Every experiment has it. A page that cannot be written is no reason to fail after hours of training: the reason is
    told, and the command writes it later.
    """

    priority = 'LOWEST'  # when everything else is written

    def after_experiment(self, runner: Runner, labels: Path, models: Sequence[TrainedModel]) -> None:
        """Write the page."""
        if not is_main_process():
            return
        folder = runner.train_loop.work_dir
        try:
            tell(f'the page about it: {write_report([folder], folder / PAGE)}')
        except Exception as error:  # whatever it is, the experiment is done and recorded
            reason = f'{type(error).__name__}: {error}'
            tell(f'no page was written ({reason}); once that is mended: ssal3d report {folder}', logging.WARNING)


@HOOKS.register_module()
class CurveHook(LoopHook):
    """Writes the metrics of every stage over annotated boxes to the experiment's ``visualizer``.

    Every experiment has it; with ``vis_backends=[dict(type='TensorboardVisBackend')]``, or those of WandB and MLflow,
    in the config's visualizer, the learning curve stands there: one curve by metric and stage, e.g.
    ``supervised/mean_bev``, the step being the number of boxes.
    """

    def after_query(self, runner: Runner, number: int, query: Any, entry: Mapping[str, Any]) -> None:
        """Write what is labelled now, by class."""
        state = LabelState.read(runner.train_loop.work_dir / entry['labels'])
        if is_main_process():
            scalars = {f'labelled/{name}': count for name, count in state.counts.items()}
            scalars['labelled/frames'] = len(state.frames)
            runner.visualizer.add_scalars(scalars, step=sum(state.counts.values()))

    def after_stage(self, runner: Runner, stage: str, entry: Mapping[str, Any]) -> None:
        """Write a stage's metrics."""
        if is_main_process() and entry.get('metrics'):
            loop = runner.train_loop
            boxes = sum(sum(step.get('spent_per_class', {}).values()) for step in loop.steps.journal.steps)
            name = stage.rpartition('/')[2]
            scalars = {f'{name}/{key.rpartition("/")[2]}': value for key, value in entry['metrics'].items()}
            runner.visualizer.add_scalars(scalars, step=boxes)
