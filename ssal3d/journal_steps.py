"""The file of an experiment's journal: its finished steps, for the loop that goes on and for reports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from ssal3d.errors import UserError
from ssal3d.fileio import read_json
from ssal3d.typed import check_fields

NAME = 'journal.json'
READS = 'reads'  # folder of what each step reads, beside the journal


class Step(TypedDict):
    """What every entry has; steps add facts of their own."""

    step: str
    digest: str
    files: Mapping[str, str]  # hashes by path in the experiment's folder


def read_steps(path: str | Path, required: Sequence[str] = ('step',)) -> list[dict[str, Any]]:
    """Read the entries of a journal.

    Args:
        path: A ``journal.json``.
        required: Keys that every entry must have.

    Raises:
        UserError: If the file is missing or malformed.
    """
    steps = read_json(path, required=('steps',))['steps']
    if not isinstance(steps, list):
        raise UserError(f'{path}: found steps {type(steps).__name__}, expected a list of them; restore the file')
    for number, entry in enumerate(steps, 1):
        check_fields(Step, entry, f'{path}: step {number}')
        for name in required:
            if name not in entry:
                raise UserError(f'{path}: step {number} has no {name!r}; restore the file')
        for name in entry.get('files', ()):
            if Path(name).is_absolute() or '..' in Path(name).parts:
                raise UserError(f'{path}: step {number} names {name!r}, expected files of its folder; restore the file')
    return steps
