"""Folders of immutable generations: what the box bank and the label store have in common on disk.

    folder/gen-000007/{<array>.npy ...}, meta.json
    folder/CURRENT

A generation is written under another name, fsynced and renamed; then ``CURRENT`` is replaced. Whoever opens a
generation holds a shared lock on its ``meta.json``, which the kernel drops when the process ends; the collector deletes
only what nobody holds.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from ssal3d.arrays import load_array
from ssal3d.errors import UserError
from ssal3d.fileio import atomic_path, read_json, remove
from ssal3d.typed import check_fields

NAME = re.compile(r'gen-(\d{6})')
_REMEDY = 'delete this generation and build it again'
Result = TypeVar('Result')


class Meta(TypedDict):
    """What ``meta.json`` may say in a store of any kind; keys of one kind are missing in the others."""

    generation: int
    parent: int | None
    classes: Sequence[str]
    rows: Mapping[str, int]
    tau: Mapping[str, float | None]
    epoch: int
    thresholds: Mapping[str, Mapping[str, Sequence[float]]]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]


class Content(NamedTuple):
    """What the files of a generation hold.

    Attributes:
        arrays: Memory-mapped arrays by name.
        meta: What ``meta.json`` says.
        pin: The shared lock; keeps the files from being deleted while it lives.
    """

    arrays: dict[str, NDArray]
    meta: dict[str, Any]
    pin: BinaryIO


class GenerationFolder:
    """A folder of generations, which one process writes and any number read.

    Args:
        folder: The folder; made when something is published.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)

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
            text = path.read_text(errors='replace').strip()
        except FileNotFoundError:
            return None
        found = NAME.fullmatch(text)
        if not found:
            raise UserError(f"{path}: found '{text[:40]}', expected a name such as gen-000007; write an existing one")
        return int(found[1])

    def read_current(self, read: Callable[[int], Result], remedy: str) -> Result:
        """Return what ``read`` makes of the current generation.

        Args:
            read: Opens a generation, given its number.
            remedy: What to do if nothing is published.

        Raises:
            UserError: If nothing is published, or the current generation cannot be read.
        """
        while (number := self.current()) is not None:
            try:
                return read(number)
            except UserError:
                if self.current() == number:  # else it was superseded and collected meanwhile
                    raise
        raise UserError(f'{self.folder}: no generation is published; {remedy}')

    def write(self, number: int, parent: int | None, arrays: Mapping[str, NDArray], meta: Mapping[str, Any]) -> Path:
        """Write a generation and make it the current one.

        Writing the same content again changes nothing. Other content under an existing number replaces it, and
        generations with higher numbers are no longer current: a run resumed from an older checkpoint writes them anew.
        A kill at any moment leaves a folder whose ``CURRENT`` names a whole generation or, before the first one, none.

        Args:
            number: Number of the generation.
            parent: The generation that it follows.
            arrays: Arrays by name.
            meta: What ``meta.json`` shall say.

        Returns:
            The folder of the generation.
        """
        path = self.path(number)
        self._sweep()
        if not (path.is_dir() and _has_content(path, arrays, meta)):
            if path.is_dir():
                self._withdraw(path, parent)
            with atomic_path(path) as temporary:
                temporary.mkdir()
                for name, array in arrays.items():
                    np.save(temporary / f'{name}.npy', array, allow_pickle=False)
                (temporary / 'meta.json').write_text(json.dumps(meta, indent=1, allow_nan=False) + '\n')
        with atomic_path(self.folder / 'CURRENT') as temporary:
            temporary.write_text(path.name + '\n')
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


def read_generation(
    path: Path, names: Sequence[str], keys: tuple[str, ...], existing: Sequence[int] = (), optional: Sequence[str] = ()
) -> Content:
    """Open and lock a generation.

    Args:
        path: Its folder.
        names: Names of its arrays.
        keys: Keys that ``meta.json`` must have.
        existing: Numbers of the generations there are, for the error message.
        optional: Names of arrays that are there if ``meta.json`` counts their rows.

    Raises:
        UserError: If it does not exist or a file cannot be read.
    """
    try:
        lock = _shared_lock(path)
        meta = read_json(path / 'meta.json', required=keys)
        check_fields(Meta, meta, f'{path}/meta.json')
        counted = [name for name in optional if name in meta['rows']]
        arrays = {name: load_array(path / f'{name}.npy', _REMEDY, mmap_mode='r') for name in (*names, *counted)}
        if not leads_to(path, lock):  # replaced in between: the arrays may be those of its successor
            return read_generation(path, names, keys, existing, optional)
    except FileNotFoundError as error:
        if (path / 'meta.json').exists():
            raise UserError(f'{error.filename}: not readable: there is no such file; {_REMEDY}') from None
        found = ', '.join(f'gen-{number:06d}' for number in existing) or 'none'
        raise UserError(
            f'{path}: no such generation, found {found}; resume from a checkpoint of an existing one, or start the run '
            'again without resuming'
        ) from None
    return Content(arrays, meta, lock)


def leads_to(path: Path, file: BinaryIO) -> bool:
    """Whether a generation's path still leads to an open ``meta.json``; raises FileNotFoundError if to nothing."""
    return os.path.samestat(os.fstat(file.fileno()), os.stat(path / 'meta.json'))


def _shared_lock(path: Path) -> BinaryIO:
    """Open and lock a generation's ``meta.json``.

    Raises:
        FileNotFoundError: If there is no such generation, also if it went while waiting for the lock.
    """
    while True:
        file = (path / 'meta.json').open('rb')
        with suppress(OSError):  # some network file systems cannot lock; there `keep_last` alone protects readers
            fcntl.flock(file, fcntl.LOCK_SH)
        if leads_to(path, file):
            return file
        file.close()


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
    """Take a generation away in one step; what is left of it after a kill is swept by the next write."""
    hidden = path.with_name(f'.{path.name}.{os.getpid()}.old')
    os.replace(path, hidden)
    remove(hidden)


def _has_content(path: Path, arrays: Mapping[str, NDArray], meta: Mapping[str, Any]) -> bool:
    """Whether a published generation equals one in memory."""
    try:
        found = read_generation(path, list(arrays), ())
    except UserError:
        return False
    return found.meta == json.loads(json.dumps(meta)) and all(
        found.arrays[name].dtype == array.dtype and found.arrays[name].tobytes() == array.tobytes()
        for name, array in arrays.items()
    )
