"""The box bank on disk: a `GenerationFolder` of objects, points, frames, masks and predictions (docs/cpsp.md)."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ssal3d.bank.generation import FILES, Generation, check, row_counts
from ssal3d.bank.generation_folder import GenerationFolder, leads_to, read_generation
from ssal3d.errors import UserError

META_KEYS = ('generation', 'parent', 'classes', 'tau', 'rows')


class BoxBank(GenerationFolder):
    """A folder of generations of objects and backgrounds.

    It may be sent to worker processes: only the path goes, and they open what they need.

    Args:
        folder: The folder; made when something is published.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        super().__init__(folder)
        self._opened: Generation | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {'folder': self.folder, '_opened': None}

    def open(self, number: int | None = None) -> Generation:
        """Return a generation, memory-mapped; opening the same one again in a process costs nothing.

        Args:
            number: The generation; the current one if not given.

        Raises:
            UserError: If it does not exist or its files do not fit together.
        """
        if number is None:
            return self.read_current(self.open, 'build the bank first')
        if self._opened is None or self._opened.number != number or self._is_replaced(self._opened):
            self._opened = None  # lets go of the lock
            self._opened = _load(self.path(number), self.generations())
        return self._opened

    def _is_replaced(self, generation: Generation) -> bool:
        """Whether other content was published under an open generation's number; a deleted one stays readable."""
        try:
            return not leads_to(self.path(generation.number), generation.pin)
        except FileNotFoundError:
            return False

    def publish(self, generation: Generation, keep_last: int = 2, pinned: Collection[int] = ()) -> Path:
        """Write a generation, make it the current one, and delete old ones; see `GenerationFolder.write`.

        Args:
            generation: What to write.
            keep_last: Generations to keep, this one included.
            pinned: Generations to keep in any case, e.g. those that checkpoints name.

        Returns:
            The folder of the generation.
        """
        arrays = {name: getattr(generation, name) for name in FILES}
        meta = {**generation.meta, 'rows': row_counts(generation)}
        path = self.write(generation.number, generation.meta['parent'], arrays, meta)
        self.collect_garbage(keep_last, pinned)
        return path


def _load(path: Path, existing: list[int]) -> Generation:
    arrays, meta, lock = read_generation(path, FILES, META_KEYS, existing)
    if path.name != f'gen-{meta["generation"]:06d}':
        raise UserError(
            f'{path}/meta.json: found generation {meta["generation"]}, expected that of the folder; move it'
        )
    generation = Generation(**arrays, meta=meta, source=str(path), pin=lock)
    check(generation)
    return generation
