"""The box bank on disk: a folder of immutable generations and the name of the current one (spec section 8).

    bank/gen-000007/{objects,points,frames,masks,preds}.npy, meta.json
    bank/CURRENT

A generation is written under another name, fsynced and renamed; then ``CURRENT`` is replaced. Whoever opens a generation
holds a shared lock on its ``meta.json``, which the kernel drops when the process ends; the collector deletes only what
nobody holds.
"""

import fcntl
import json
import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ssal3d.cpsp.generation import FILES, Generation, check, row_counts
from ssal3d.errors import UserError
from ssal3d.fileio import atomic_path, read_json, remove

NAME = re.compile(r'gen-(\d{6})')
META_KEYS = ('generation', 'parent', 'classes', 'tau', 'rows')


class BoxBank:
    """A folder of generations, which one process writes and any number read.

    It may be sent to worker processes: only the path goes, and they open what they need.

    Args:
        folder: The folder; made when something is published.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self._opened: Generation | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {'folder': self.folder, '_opened': None}

    def path(self, number: int) -> Path:
        """Return the folder of a generation."""
        return self.folder / f'gen-{number:06d}'

    def generations(self) -> list[int]:
        """Return the numbers of all published generations, ascending."""
        if not self.folder.is_dir():
            return []
        return sorted(int(found[1]) for path in self.folder.iterdir() if (found := NAME.fullmatch(path.name)))

    def current(self) -> int | None:
        """Return the current generation, None if nothing is published.

        Raises:
            UserError: If ``CURRENT`` holds no name of a generation.
        """
        path = self.folder / 'CURRENT'
        try:
            text = path.read_text().strip()
        except FileNotFoundError:
            return None
        found = NAME.fullmatch(text)
        if not found:
            raise UserError(f"{path}: found '{text[:40]}', expected a name such as gen-000007; write an existing one")
        return int(found[1])

    def open(self, number: int | None = None) -> Generation:
        """Return a generation, memory-mapped; opening the same one again in a process costs nothing.

        Args:
            number: The generation; the current one if not given.

        Raises:
            UserError: If it does not exist or its files do not fit together.
        """
        if number is None:
            return self._open_current()
        if self._opened is None or self._opened.number != number or self._is_replaced(self._opened):
            self._opened = None  # lets go of the lock
            self._opened = _load(self.path(number), self.generations())
        return self._opened

    def _is_replaced(self, generation: Generation) -> bool:
        """Whether other content was published under an open generation's number; a deleted one stays readable."""
        try:
            return not _leads_to(self.path(generation.number), generation.pin)
        except FileNotFoundError:
            return False

    def _open_current(self) -> Generation:
        while (number := self.current()) is not None:
            try:
                return self.open(number)
            except UserError:
                if self.current() == number:  # else it was superseded and collected meanwhile
                    raise
        raise UserError(f'{self.folder}: no generation is published; build the bank first')

    def publish(self, generation: Generation, keep_last: int = 2, pinned: Collection[int] = ()) -> Path:
        """Write a generation, make it the current one, and delete old ones.

        Publishing the same content again changes nothing. Other content under an existing number replaces it, and
        generations with higher numbers go: a run resumed from an older checkpoint writes them anew. A kill at any
        moment leaves a bank whose ``CURRENT`` names a whole generation or, before the first one, none.

        Args:
            generation: What to write.
            keep_last: Generations to keep, this one included.
            pinned: Generations to keep in any case, e.g. those that checkpoints name.

        Returns:
            The folder of the generation.
        """
        path = self.path(generation.number)
        self._sweep()
        if not (path.is_dir() and _has_content(path, generation)):
            if path.is_dir():
                self._withdraw(path, generation.meta['parent'])
            with atomic_path(path) as temporary:
                temporary.mkdir()
                _write(temporary, generation)
        with atomic_path(self.folder / 'CURRENT') as temporary:
            temporary.write_text(path.name + '\n')
        self.collect_garbage(keep_last, pinned)
        return path

    def collect_garbage(self, keep_last: int = 2, pinned: Collection[int] = ()) -> list[int]:
        """Delete generations that are neither among the last ones, nor pinned, nor open in any process.

        Args:
            keep_last: Generations to keep, counted down from the current one.
            pinned: Numbers to keep in any case.

        Returns:
            The deleted numbers. Those that are still open are left for the next call.
        """
        current = self.current()
        past = [number for number in self.generations() if current is not None and number <= current]
        kept = {*past[-max(keep_last, 1) :], *pinned}
        return [n for n in self.generations() if current is not None and n not in kept and _delete(self.path(n))]

    def _withdraw(self, path: Path, parent: int | None) -> None:
        """Take a generation out of sight, so that its name is free for other content."""
        if self.current() == int(path.name[4:]):
            if parent in self.generations():
                with atomic_path(self.folder / 'CURRENT') as temporary:
                    temporary.write_text(self.path(parent).name + '\n')
            else:
                remove(self.folder / 'CURRENT')
        _hide(path)

    def _sweep(self) -> None:
        """Remove what a killed writer left."""
        if self.folder.is_dir():
            for path in (*self.folder.glob('.gen-*'), *self.folder.glob('.CURRENT.*')):
                remove(path)


def _write(folder: Path, generation: Generation) -> None:
    for name in FILES:
        np.save(folder / f'{name}.npy', getattr(generation, name), allow_pickle=False)
    meta = {**generation.meta, 'rows': row_counts(generation)}
    (folder / 'meta.json').write_text(json.dumps(meta, indent=1, allow_nan=False) + '\n')


def _load(path: Path, existing: list[int]) -> Generation:
    try:
        lock = _shared_lock(path)
        meta = read_json(path / 'meta.json', required=META_KEYS)
        arrays = {name: _map(path / f'{name}.npy') for name in FILES}
        if not _leads_to(path, lock):  # replaced in between: the arrays may be those of its successor
            return _load(path, existing)
    except FileNotFoundError:
        found = ', '.join(f'gen-{number:06d}' for number in existing) or 'none'
        raise UserError(
            f'{path}: no such generation, found {found}; resume from a checkpoint of an existing one, or start the run '
            'again without resuming'
        ) from None
    if path.name != f'gen-{meta["generation"]:06d}':
        raise UserError(
            f'{path}/meta.json: found generation {meta["generation"]}, expected that of the folder; move it'
        )
    generation = Generation(**arrays, meta=meta, source=str(path), pin=lock)
    check(generation)
    return generation


def _map(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, mmap_mode='r', allow_pickle=False))
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f'{path}: not readable ({error}); delete this generation and build it again') from None


def _shared_lock(path: Path) -> BinaryIO:
    """Open and lock a generation's ``meta.json``.

    Raises:
        FileNotFoundError: If there is no such generation, also if it went while waiting for the lock.
    """
    while True:
        file = (path / 'meta.json').open('rb')
        with suppress(OSError):  # some network file systems cannot lock; there `keep_last` alone protects readers
            fcntl.flock(file, fcntl.LOCK_SH)
        if _leads_to(path, file):
            return file
        file.close()


def _leads_to(path: Path, file: BinaryIO) -> bool:
    """Whether a generation's path still leads to an open ``meta.json``; raises FileNotFoundError if to nothing."""
    return os.path.samestat(os.fstat(file.fileno()), os.stat(path / 'meta.json'))


def _delete(path: Path) -> bool:
    """Delete a generation unless somebody holds it; return whether it is gone."""
    try:
        file = (path / 'meta.json').open('rb')
    except FileNotFoundError:  # damaged: nobody can open it
        remove(path)
        return True
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # no locks here, see `_shared_lock`
            pass
        _hide(path)
    return True


def _hide(path: Path) -> None:
    """Take a generation away in one step; what is left of it after a kill is swept by the next `BoxBank.publish`."""
    hidden = path.with_name(f'.{path.name}.{os.getpid()}.old')
    os.replace(path, hidden)
    remove(hidden)


def _has_content(path: Path, generation: Generation) -> bool:
    """Whether a published generation equals one in memory."""
    try:
        published = _load(path, [])
    except UserError:
        return False
    if published.meta != json.loads(json.dumps({**generation.meta, 'rows': row_counts(generation)})):
        return False
    return all(getattr(published, name).tobytes() == getattr(generation, name).tobytes() for name in FILES)
