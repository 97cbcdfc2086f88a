"""Hooks that an experiment calls between its steps; registered as MMEngine's are, through ``custom_hooks``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ssal3d.active.query.query_file import Query
from ssal3d.loop.chains import StageNode
from ssal3d.loop.trained_model import TrainedModel


class LoopHook(Hook):
    """Base of hooks that belong to the experiment and not to the runs of its stages.

    Its methods are called in every process, in the order of the hooks' priorities. What a resumed experiment finds
    finished is not announced again; `before_experiment`, `after_round` and `after_experiment` are called each time. The
    loop is ``runner.train_loop``, its folder ``runner.train_loop.work_dir``.
    """

    def before_experiment(self, runner: Runner) -> None:
        """Called when everything is checked, before the first step."""

    def before_stage(self, runner: Runner, stage: str, config: Config) -> None:
        """Called before a stage is trained.

        Args:
            runner: The experiment's runner.
            stage: Step name, e.g. ``'round_1/normal'``.
            config: Complete config of the run.
        """

    def after_stage(self, runner: Runner, stage: str, entry: Mapping[str, Any]) -> None:
        """Called when a stage is trained and recorded.

        Args:
            runner: The experiment's runner.
            stage: Step name.
            entry: Its entry in the journal: ``checkpoint``, ``metrics``, ``seconds``.
        """

    def after_query(self, runner: Runner, number: int, query: Query | None, entry: Mapping[str, Any]) -> None:
        """Called when frames were bought and recorded.

        Args:
            runner: The experiment's runner.
            number: Number of the round; 0 for the initial frames.
            query: What was bought and why; None where labels were given.
            entry: Its entry in the journal: ``labels``, ``frames``, ``spent_per_class``.
        """

    def after_round(self, runner: Runner, number: int, labels: Path, models: Sequence[TrainedModel]) -> None:
        """Called at the end of a round, after its query and, with ``final_every_round``, its final stages.

        Args:
            runner: The experiment's runner.
            number: Number of the round, from 1.
            labels: Label state with what the round has bought.
            models: What was trained in the round.
        """

    def after_experiment(self, runner: Runner, labels: Path, models: Sequence[TrainedModel]) -> None:
        """Called when all is done.

        Args:
            runner: The experiment's runner.
            labels: The last label state.
            models: All models in the order of their training.
        """

    def wants_predictions(self, runner: Runner, group: str, place: StageNode) -> bool:
        """Return whether the hook will read a stage's predictions of the unlabelled pool.

        Args:
            runner: The experiment's runner.
            group: ``'round_1'``, ..., or ``'final'``.
            place: The stage among others.
        """
        return False


def loop_hooks(runner: Runner) -> list[LoopHook]:
    """Return the hooks of an experiment that are no hooks of single runs."""
    return [hook for hook in runner.hooks if isinstance(hook, LoopHook)]


def without_loop_hooks(config: Config) -> Config:
    """Return an experiment's config for its stages: with the hooks of single runs alone.

    Args:
        config: The experiment's config; it stays as it is.
    """
    config = config.copy()
    if config.get('custom_hooks'):
        config.custom_hooks = [hook for hook in config.custom_hooks if not _is_loop_hook(hook)]
    return config


def _is_loop_hook(hook: Any) -> bool:
    kind = hook.get('type') if isinstance(hook, Mapping) else type(hook)
    kind = HOOKS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, LoopHook)
