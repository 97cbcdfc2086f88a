"""The journal of an experiment: what finished, in order. Resume trusts nothing else."""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, atomic_path, digest, read_json, remove, sha256, write_json
from ssal3d.journal_steps import NAME, READS, read_steps
from ssal3d.log import tell
from ssal3d.loop.digests import differences

CONFIG = 'config.py'  # of a stage; it names the folders of its experiment
MACHINE_MADE = frozenset(('checkpoint', 'predictions'))  # roles of steps whose folders hold nothing that people made
SHOWN = 80  # characters of a value in a message


class Journal:
    """An append-only list of finished steps in ``journal.json``, replaced atomically at every step.

    Every step carries the digest of what it read. The content behind the digest stands in ``reads/<step>.json``, so
    that a difference can be named.

    Args:
        folder: The experiment's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / NAME
        self.steps: list[dict[str, Any]] = []
        if self.path.exists():
            self.steps = read_steps(self.path, required=('step', 'files'))

    def find(self, name: str, reads: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the entry of a finished step after checking that it is still what would be done now, or None.

        Args:
            name: Step name, e.g. ``'round_1/normal'``.
            reads: What the step would read now.

        Raises:
            UserError: If the step read something else, or a file of it is missing or was changed.
        """
        for entry in self.steps:
            if entry['step'] == name:
                if entry.get('digest') != digest(reads):
                    raise self.changed(name, reads, 'is finished')
                for file, expected in entry['files'].items():
                    self._check(name, self.folder / file, expected)
                return entry
        return None

    def record(
        self,
        name: str,
        reads: Mapping[str, Any],
        files: Mapping[str, Path | Sequence[Path]],
        write: bool = True,
        expected: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> dict[str, Any]:
        """Append a finished step.

        Args:
            name: Step name.
            reads: What it read.
            files: Results by role: a file, or all files of a folder; inside the experiment's folder. Their hashes are
                kept.
            write: Whether this process writes the file; the others only remember.
            expected: Hashes that the files must have, by their names in the folder; None where they are new.
            **facts: Anything else worth knowing: seconds, metrics, counts.

        Raises:
            UserError: If the files are not the expected ones.
        """
        roles: dict[str, str] = {}
        hashes: dict[str, str] = {}
        for role, found in files.items():
            paths = [found] if isinstance(found, Path) else list(found)
            roles[role] = str((found if isinstance(found, Path) else paths[0].parent).relative_to(self.folder))
            hashes |= {str(path.relative_to(self.folder)): sha256(path) for path in paths}
        if expected is not None and hashes != expected:
            file = next(iter(dict(hashes.items() ^ expected.items())))
            raise UserError(f'{self.folder / file}: found another file than step {name} left; was it changed just now?')
        entry = {'step': name, 'digest': digest(reads), **roles, **facts, 'files': hashes}
        self.steps.append(entry)
        if write:
            write_json(self.path, {'schema': SCHEMA, 'steps': self.steps})
        return entry

    def begin(self, name: str, reads: Mapping[str, Any]) -> None:
        """Write down what a step reads before it starts."""
        write_json(self._reads_path(name), reads)

    def begun(self, name: str) -> dict[str, Any] | None:
        """Return what an unfinished step was started with; None if it was not."""
        path = self._reads_path(name)
        content = read_json(path, schema=False) if path.exists() else None
        if not isinstance(content, dict | None):
            raise UserError(f'{path}: found {_short(content)}, expected what the step reads; delete the file')
        return content

    def changed(self, name: str, reads: Mapping[str, Any], state: str) -> UserError:
        """Build the error for a step that was done, or started, with something else.

        Args:
            name: Step name.
            reads: What it would read now.
            state: ``'is finished'`` or ``'has started'``.
        """
        changes = list(differences(self.begun(name) or {}, reads))
        key, old, new = changes[0] if changes else ('what it reads', 'something else', 'this')
        more = f' ({len(changes) - 1} more keys differ)' if len(changes) > 1 else ''
        return UserError(
            f'{self.path}: step {name} {state} with {key} = {_short(old)}, now it is {_short(new)}{more}; resume with the '
            'config that it was started with, or choose another --work-dir'
        )

    def _reads_path(self, name: str) -> Path:
        return self.folder / READS / f'{name}.json'

    def _check(self, name: str, path: Path, expected: str) -> None:
        if not path.exists():
            raise UserError(f'{self.path}: step {name} is finished but {path} is missing; restore it or start afresh')
        if sha256(path) != expected:
            raise UserError(f'{self.path}: {path} was changed after step {name} finished; restore it or start afresh')


class FinishedSteps:
    """Finished steps of other experiments, found by what they read.

    Args:
        folders: Work dirs of these experiments.

    Raises:
        UserError: If a folder holds no experiment.
    """

    def __init__(self, folders: tuple[str | Path, ...]) -> None:
        self.folders = [Path(folder) for folder in folders]
        for folder in self.folders:
            if not (folder / NAME).exists():
                raise UserError(f'reuse: {folder} holds no {NAME}; give the work dirs of experiments')

    def find(
        self, name: str, reads: Mapping[str, Any], code: Mapping[str, str] | None = None
    ) -> tuple[Path, dict[str, Any]] | None:
        """Return folder and entry of a whole step of this name that read the same, or None.

        A step that lost a file, or ran other code of the user, is named and passed over.

        Args:
            name: Step name.
            reads: What the step would read now.
            code: Digests of the user's own modules, see `ssal3d.loop.digests.own_code`.
        """
        expected = digest(reads)
        for journal in map(Journal, self.folders):  # read again: they may run beside this one
            for entry in journal.steps:
                if entry.get('digest') == expected and entry['step'] == name:
                    problem = _damage(journal.folder, entry) or _other_code(entry, code or {})
                    if not problem:
                        return journal.folder, entry
                    tell(f'{name}: not taken from {journal.folder}: {problem}', logging.WARNING)
        return None


def _damage(folder: Path, entry: Mapping[str, Any]) -> str:
    """Return what is wrong with the files of a finished step, '' if they are what the journal says."""
    for name, expected in entry['files'].items():
        path = folder / name
        if not path.exists() or sha256(path) != expected:
            return f'{path} {"was changed" if path.exists() else "is missing"}'
    return ''


def _other_code(entry: Mapping[str, Any], code: Mapping[str, str]) -> str:
    """Return which of the user's modules differs from what a step ran with, '' if none does."""
    ran_with = entry.get('code', {})
    differing = [name for name in (*ran_with, *code) if ran_with.get(name) != code.get(name)]
    return f'its code of {differing[0]} differs' if differing else ''


def take_over(source: Path, entry: Mapping[str, Any], target: Path) -> None:
    """Bring the results of a finished step into another experiment: by hard link, by copy across file systems.

    What a killed run with other settings left in the folder of a training or a prediction pass goes first; that of a
    query may hold what people made.

    Args:
        source: Folder of the experiment that did the step; its files are what the journal says, see `FinishedSteps`.
        entry: The step in its journal.
        target: Folder of the experiment that takes it over.
    """
    if MACHINE_MADE & entry.keys():
        remove(target / entry['step'])
    for path in _files_of(source, entry):
        place = target / path.relative_to(source)
        if not place.exists() or sha256(place) != sha256(path):
            with atomic_path(place) as temporary:
                try:
                    os.link(path, temporary)
                except OSError:
                    shutil.copy2(path, temporary)


def _files_of(source: Path, entry: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the recorded files and whatever else lies in the step's own folder (bank, logs), but for its config."""
    recorded = [source / name for name in entry['files']]
    yield from recorded
    folder = source / entry['step']
    if folder.is_dir():
        yield from (
            path
            for path in sorted({*folder.rglob('*')}.difference(recorded))
            if path.is_file() and path.name != CONFIG and not path.name.startswith('.')
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f'{text[: SHOWN - 3]}...'
