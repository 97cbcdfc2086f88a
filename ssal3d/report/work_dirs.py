"""Whether work dirs can stand beside each other: each named once, measured on one val set."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError
from ssal3d.fileio import digest, read_json
from ssal3d.journal_steps import READS

NARROWING = ('ann_file', 'indices')  # what tells a val set from others


def refuse_twice(folders: Sequence[str | Path]) -> None:
    """Refuse a folder that is named twice: one run would count as two, and intervals would be too narrow.

    Args:
        folders: Work dirs.

    Raises:
        UserError: If two of them are the same place.
    """
    seen: dict[Path, str | Path] = {}
    for folder in folders:
        place = Path(folder).resolve()
        if place in seen:
            raise UserError(
                f'{folder}: is the same work dir as {seen[place]}, expected different ones; name every work dir once'
            )
        seen[place] = folder


def val_set(folder: Path, step: str) -> str | None:
    """Return what tells the val set of a training from others; None where the training did not write it down.

    Args:
        folder: A work dir.
        step: Name of the training's step.
    """
    path = folder / READS / f'{step}.json'
    if not path.is_file():
        return None
    reads = read_json(path, schema=False)
    training = reads.get('training') if isinstance(reads, Mapping) else None
    if not isinstance(training, Mapping):
        return None
    found = sorted({digest(item) for item in _narrowing(training.get('val_dataloader'))})
    return digest(found) if found else None


def _narrowing(content: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key in NARROWING and value is not None:
                yield key, value
            else:
                yield from _narrowing(value)
    elif isinstance(content, list):
        for value in content:
            yield from _narrowing(value)
