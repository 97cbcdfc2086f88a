"""Runs experiments side by side, each a process of its own; what several need is trained once."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from ssal3d.errors import UserError
from ssal3d.loop.journal import Journal
from ssal3d.loop.summary import METRICS
from ssal3d.reproduce.experiments import Experiment

PAUSE = 2.0  # seconds between two looks at the processes


class Jobs:
    """A list of experiments that run until all are done.

    An experiment waits while another one of its seed is about to finish a step that both need: it then takes the step
    over (``train_cfg.reuse``). Stopping is allowed at any time; what was begun goes on at the next start.

    Args:
        experiments: What to run, in this order where nothing is shared.
        settings: Further changes to an experiment's config, ``KEY=VALUE``: where its frames are.
        at_once: Processes side by side.
        tell: Called with one line when something starts or ends.
        after: Called when an experiment has ended well.

    Raises:
        UserError: If no process may run.
    """

    def __init__(
        self,
        experiments: Sequence[Experiment],
        settings: Callable[[Experiment], Sequence[str]],
        at_once: int,
        tell: Callable[[str], None],
        after: Callable[[], object],
    ) -> None:
        self.waiting = list(experiments)
        self.settings = settings
        if at_once < 1:
            raise UserError(f'--jobs: found {at_once}, expected 1 or more')
        self.at_once = at_once
        self.tell = tell
        self.after = after
        self.running: dict[Experiment, tuple[subprocess.Popen, IO, float]] = {}
        self.done: dict[int, set[str]] = {}
        self.failed: list[Experiment] = []

    def run(self) -> list[Experiment]:
        """Run everything.

        Returns:
            The experiments that failed; the end of their log has been told.
        """
        with _kill_is_an_exit():
            try:
                while self.waiting or self.running:
                    self._collect()
                    while len(self.running) < self.at_once and (ready := self._next()):
                        self._start(ready)
                    if self.running:
                        time.sleep(PAUSE)
            finally:
                for process, log, _ in self.running.values():
                    process.terminate()
                    log.close()
        return self.failed

    def _next(self) -> Experiment | None:
        """Return an experiment that would not do what a running one is about to do."""
        for experiment in self.waiting:
            others = [other for other in self.running if other.seed == experiment.seed]
            busy = {step for other in others for step in self._left(other)}
            if not busy & set(self._left(experiment)):
                return experiment
        return None

    def _left(self, experiment: Experiment) -> list[str]:
        """Return the steps that neither it nor another experiment has finished."""
        return [step for step in experiment.steps if step not in self.done.get(experiment.seed, ())]

    def _start(self, experiment: Experiment) -> None:
        self.waiting.remove(experiment)
        folder = experiment.folder
        folder.mkdir(parents=True, exist_ok=True)
        if experiment.config.exists() and experiment.config.read_text() != experiment.config_text():
            self.tell(f'{folder}: was run with other settings; its steps are checked one by one')
            (folder / METRICS).unlink(missing_ok=True)  # it says that the settings beside it were run to their end
        experiment.config.write_text(experiment.config_text())
        work_dirs = sorted(path.parent for path in folder.parent.glob('*/journal.json') if path.parent != folder)
        options = [*self.settings(experiment), *experiment.options]
        if work_dirs:
            options.append(f'train_cfg.reuse={[str(path) for path in work_dirs]}')
        command = ['train', str(experiment.config), '--work-dir', str(folder), '--resume']
        command += ['--cfg-options', *options] if options else []
        log = folder.with_suffix('.log').open('a')
        threads = {'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS', '1')}
        process = subprocess.Popen(
            [sys.executable, '-m', 'ssal3d', *command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **threads},
        )
        self.running[experiment] = process, log, time.monotonic()
        self.tell(f'started: {experiment.row.label}, seed {experiment.seed}; {len(self.waiting)} wait')

    def _collect(self) -> None:
        """Take note of what ended, and of the steps that running experiments have finished."""
        for experiment, (process, log, start) in list(self.running.items()):
            self.done.setdefault(experiment.seed, set()).update(finished_steps(experiment))
            if process.poll() is None:
                continue
            log.close()
            del self.running[experiment]
            minutes = (time.monotonic() - start) / 60
            if process.returncode:
                self.failed.append(experiment)
                last = Path(log.name).read_text().strip().splitlines()[-1:]
                self.tell(f'failed: {experiment.row.label}, seed {experiment.seed}: {" ".join(last)} ({log.name})')
            else:
                self.done[experiment.seed].update(experiment.steps)
                self.tell(f'finished: {experiment.row.label}, seed {experiment.seed}, {minutes:.1f} min')
                self.after()


@contextlib.contextmanager
def _kill_is_an_exit() -> Iterator[None]:
    """Make SIGTERM raise SystemExit here, so that experiments are stopped too: alone they would hold their folders."""
    if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
        yield
        return

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def finished_steps(experiment: Experiment) -> list[str]:
    """Return those of an experiment's shared steps that its journal lists."""
    names = {step['step'] for step in Journal(experiment.folder).steps}
    return [step for step, name in experiment.steps.items() if name in names]
