"""mmengine's runner with a terminal that tells the story; the log files hold everything."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import HOOKS, LOOPS
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from ssal3d.config_text import PlainTextConfig
from ssal3d.distributed import frames_per_process
from ssal3d.log import quieten, tell
from ssal3d.models.fast_layers import use_fast_layers
from ssal3d.terminal import PAUSE, duration

OF_WORKERS = ('persistent_workers', 'prefetch_factor')  # PyTorch refuses them where num_workers is 0
LINES = 10  # lines of progress in a training


class QuietRunner(Runner):
    """A runner that shows messages of ours, progress, warnings and errors, and logs everything."""

    @classmethod
    def from_cfg(cls, cfg: Any) -> Runner:
        """Build a runner from a config, whose text takes no seconds at every checkpoint.

        Args:
            cfg: As for `Runner.from_cfg`.
        """
        return super().from_cfg(PlainTextConfig(cfg) if isinstance(cfg, Config) else cfg)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model and let it compute as fast as it can.

        Args:
            model: As for `Runner.build_model`.
        """
        built = super().build_model(model)
        use_fast_layers(built)
        return built

    def train(self) -> Any:
        """Train, and let the processes that load frames end with it."""
        try:
            return super().train()
        finally:
            end_workers(self._train_loop, self._val_loop)

    def val(self) -> dict:
        """Validate, and let the processes that load frames end with it."""
        try:
            return super().val()
        finally:
            end_workers(self._val_loop)

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the environment, then give each process its share of a run's ``total_batch_size``.

        Args:
            env_cfg: As for `Runner.setup_env`.

        Raises:
            UserError: If the processes cannot share the batch evenly.
        """
        super().setup_env(env_cfg)
        total = self.cfg.get('total_batch_size')
        if total is not None and isinstance(self._train_dataloader, dict):
            self._train_dataloader['batch_size'] = frames_per_process(total, self.world_size)

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """Move the model to its device and wrap it, unless this run's loop only starts other runs.

        An experiment has such a loop: its own model, built to find errors of the config early, would occupy each GPU.

        Args:
            model_wrapper_cfg: As for `Runner.wrap_model`.
            model: Is put on the device of the process.
        """
        loop = (self.cfg.get('train_cfg') or {}).get('type')
        if getattr(LOOPS.get(loop) if isinstance(loop, str) else loop, 'starts_runs', False):
            return model
        return super().wrap_model(model_wrapper_cfg, model)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger and choose what its terminal shows.

        Args:
            *args: As for `Runner.build_logger`.
            **kwargs: As for `Runner.build_logger`.
        """
        logger = super().build_logger(*args, **kwargs)
        quieten(logger)
        return logger

    @staticmethod
    def build_dataloader(dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> DataLoader:
        """Build a data loader; with ``num_workers=0``, settings of worker processes are ignored.

        Args:
            dataloader: As for `Runner.build_dataloader`.
            seed: As for `Runner.build_dataloader`.
            diff_rank_seed: As for `Runner.build_dataloader`.
        """
        if isinstance(dataloader, Mapping) and not dataloader.get('num_workers'):
            dataloader = {key: value for key, value in dataloader.items() if key not in OF_WORKERS}
        return Runner.build_dataloader(dataloader, seed, diff_rank_seed)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedule; a part of it for which a very short training has no step is left out.

        Args:
            scheduler: As for `Runner.build_param_scheduler`.
        """
        loader = self.train_dataloader
        if not isinstance(scheduler, Sequence) or not isinstance(loader, DataLoader):
            return super().build_param_scheduler(scheduler)
        parts = [part for part in scheduler if has_steps(part, len(loader))]
        return super().build_param_scheduler(parts) if parts else []

    def build_val_loop(self, loop: Any) -> BaseLoop:
        """Build the validation loop, and let its metrics look at the data before anything is trained.

        Args:
            loop: As for `Runner.build_val_loop`.
        """
        built = super().build_val_loop(loop)
        check_evaluation(built)
        return built

    def build_test_loop(self, loop: Any) -> BaseLoop:
        """Build the test loop, and let its metrics look at the data before anything is predicted.

        Args:
            loop: As for `Runner.build_test_loop`.
        """
        built = super().build_test_loop(loop)
        check_evaluation(built)
        return built

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Register the default hooks, and the one that shows progress.

        Args:
            hooks: As for `Runner.register_default_hooks`.
        """
        super().register_default_hooks(hooks)
        self.register_hook(ProgressHook(), priority='VERY_LOW')


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows at most ten lines in a training: epoch, loss, time left. The log file has a line for every interval."""

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self.start, self.first, self.shown = time.monotonic(), runner.iter, runner.iter * LINES // runner.max_iters
        self.last = self.start

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Show a line at every tenth of the training."""
        done = runner.iter + 1
        if done * LINES // runner.max_iters == self.shown:
            return
        self.shown, now = done * LINES // runner.max_iters, time.monotonic()
        if now - self.last < PAUSE and done < runner.max_iters:
            return
        self.last, each = now, (now - self.start) / (done - self.first)
        loss = runner.message_hub.log_scalars.get('train/loss')
        shown = f', loss {loss.mean(50):.3f}' if loss is not None else ''
        left = each * (runner.max_iters - done)
        tell(
            f'  epoch {runner.epoch + 1}/{runner.max_epochs}, step {done:,}/{runner.max_iters:,}{shown}, '
            f'{each:.2f} s a step, {duration(left)} left'
        )


def has_steps(scheduler: Any, steps: int) -> bool:
    """Return whether a part of a schedule that counts epochs and is stepped every iteration has an iteration.

    Args:
        scheduler: Its config.
        steps: Iterations of an epoch.

    >>> [has_steps(dict(convert_to_iter_based=True, begin=0, end=0.5), steps) for steps in (1, 2)]
    [False, True]
    """
    if not isinstance(scheduler, Mapping) or not scheduler.get('convert_to_iter_based'):
        return True
    begin, end = int(scheduler.get('begin', 0) * steps), scheduler.get('end')
    after = begin + 1 if end is None else int(end * steps)
    return after > begin and int(scheduler.get('T_max', 1) * steps) > 0


def end_workers(*loops: Any) -> None:
    """End the persistent worker processes of loops' data loaders.

    A runner is part of reference cycles. When the garbage collector finds them, it closes the queue of a worker before
    the loader can say goodbye: PyTorch then waits five seconds and kills the worker.

    Args:
        *loops: Built loops; what has no data loader is passed over.
    """
    for loop in loops:
        loader = getattr(loop, 'dataloader', None)
        if isinstance(loader, DataLoader):
            loader._iterator = None


def check_evaluation(loop: Any) -> None:
    """Let every metric that can (``check_frames``) check the labels that it will measure against.

    Args:
        loop: A built validation or test loop.

    Raises:
        UserError: If something is wrong with them.
    """
    dataset = loop.dataloader.dataset
    for metric in loop.evaluator.metrics:
        if hasattr(metric, 'check_frames'):
            metric.check_frames(getattr(dataset, 'frame_ids', None))
