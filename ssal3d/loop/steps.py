"""Doing the steps of an experiment once: those of the journal and of other experiments are not done again."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process

from ssal3d.distributed import barrier, from_rank_0
from ssal3d.fileio import remove
from ssal3d.log import tell
from ssal3d.loop.digests import differences
from ssal3d.loop.journal import FinishedSteps, Journal, take_over
from ssal3d.machine import own_version
from ssal3d.models.loading import newest_checkpoint
from ssal3d.predictions.reader import find_parts

# What the length of a training decides in its config; the one-cycle schedule depends on it from the first step.
LENGTH_KEYS = ('training.train_cfg.', 'training.param_scheduler')


class Steps:
    """Does what the journal does not list yet; all processes take part.

    Args:
        folder: The experiment's folder.
        reuse: Work dirs of other experiments; a finished step that read the same there is taken over.
        code: Digests of the user's own modules, see `ssal3d.loop.digests.own_code`; a step that ran with others is not
            taken over.

    Attributes:
        journal: What is done.
    """

    def __init__(self, folder: Path, reuse: Sequence[str | Path] = (), code: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.code = dict(code or {})
        self.version = own_version()
        self.journal = Journal(folder)
        self.finished = FinishedSteps(tuple(reuse))

    def do(
        self,
        name: str,
        reads: Mapping[str, Any],
        work: Callable[[], dict[str, Any]],
        after: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Do a step unless this journal has it or one of another experiment.

        Args:
            name: Name of the step.
            reads: What it depends on.
            work: Does it and returns facts for the journal, among them ``files`` by role.
            after: Told the journal's entry if the step was done now.

        Returns:
            The entry of the journal.
        """
        barrier()
        entry = self.journal.find(name, reads)
        if entry is None and (found := self._finished_elsewhere(name, reads)):
            return self._take_over(name, reads, *found)
        if entry is None:
            self._check_started(name, reads)
            start = time.monotonic()
            facts = work()
            barrier()
            entry = self._record(name, reads, seconds=round(time.monotonic() - start, 1), **facts)
            if after:
                after(entry)
        return entry

    def path(self, relative: str) -> Path:
        """Return the path of a result that an entry names."""
        return self.folder / relative

    def _finished_elsewhere(self, name: str, reads: Mapping[str, Any]) -> tuple[Path, dict[str, Any]] | None:
        """Return folder and entry of the step in another experiment; the first process looks, as files are hashed."""
        found = self.finished.find(name, reads, self.code) if is_main_process() else None
        barrier()
        return from_rank_0(found)

    def _record(self, name: str, reads: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
        facts = {'version': self.version, **({'code': self.code} if self.code else {}), **facts}
        entry = self.journal.record(name, reads, write=is_main_process(), **facts)
        barrier()
        return entry

    def _take_over(self, name: str, reads: Mapping[str, Any], source: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Bring a step of another experiment here and record where it comes from."""
        version = entry.get('version', self.version)
        other = f', with ssal3d {version}; this is {self.version}' if version != self.version else ''
        tell(f'{name}: taken from {source}, where it read the same{other}')
        if is_main_process():
            self.journal.begin(name, reads)
            take_over(source, entry, self.folder)
        barrier()
        facts = {key: value for key, value in entry.items() if key not in ('step', 'digest', 'files')}
        files = {
            role: find_parts(self.path(path)) if self.path(path).is_dir() else self.path(path)
            for role, path in facts.items()
            if isinstance(path, str) and any(file == path or file.startswith(f'{path}/') for file in entry['files'])
        }
        facts = {'version': '', **{key: value for key, value in facts.items() if key not in files}}
        return self._record(name, reads, files=files, expected=entry['files'], **{**facts, 'taken_from': str(source)})

    def _check_started(self, name: str, reads: Mapping[str, Any]) -> None:
        """Compare with what an unfinished step was started with; a training of another length begins again.

        Raises:
            UserError: If a stage has checkpoints of a training with other settings.
        """
        begun, folder = self.journal.begun(name), self.folder / name
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
