"""The journal of an experiment: what finished, in order. Resume trusts nothing else."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA, read_json, sha256, write_json


def config_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON-like configuration."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


class Journal:
    """An append-only list of finished steps in ``journal.json``, replaced atomically at every step.

    Args:
        path: The file.
        config: What defines the experiment; a resumed run must have the same.

    Raises:
        UserError: If the file belongs to an experiment with another config.
    """

    def __init__(self, path: str | Path, config: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.folder = self.path.parent
        self.config_sha256 = config_digest(config)
        self.steps: list[dict[str, Any]] = []
        if self.path.exists():
            content = read_json(self.path, required=('config_sha256', 'steps'))
            self.steps = content['steps']
            if content['config_sha256'] != self.config_sha256:
                raise UserError(
                    f'{self.path}: this experiment was started with another train_cfg, model or seed; resume it with '
                    'the config it was started with, or choose another --work-dir'
                )

    def find(self, name: str) -> dict[str, Any] | None:
        """Return the entry of a finished step after checking that its files are unchanged, or None.

        Raises:
            UserError: If a file of the step is missing or was changed.
        """
        for entry in self.steps:
            if entry['step'] == name:
                for file, digest in entry['files'].items():
                    self._check(name, self.folder / file, digest)
                return entry
        return None

    def record(self, name: str, files: Mapping[str, Path], write: bool = True, **facts: Any) -> dict[str, Any]:
        """Append a finished step.

        Args:
            name: Step name, e.g. ``'round_1/normal'``.
            files: Results by role; their hashes are kept. Files only, inside the experiment's folder.
            write: Whether this process writes the file; the others only remember.
            **facts: Anything else worth knowing: seconds, metrics, counts.
        """
        hashes = {str(path.relative_to(self.folder)): sha256(path) for path in files.values()}
        roles = {role: str(path.relative_to(self.folder)) for role, path in files.items()}
        entry = {'step': name, **roles, **facts, 'files': hashes}
        self.steps.append(entry)
        if write:
            write_json(self.path, {'schema': SCHEMA, 'config_sha256': self.config_sha256, 'steps': self.steps})
        return entry

    def _check(self, name: str, path: Path, digest: str) -> None:
        if not path.exists():
            raise UserError(f'{self.path}: step {name} is finished but {path} is missing; restore it or start afresh')
        if sha256(path) != digest:
            raise UserError(f'{self.path}: {path} was changed after step {name} finished; restore it or start afresh')
