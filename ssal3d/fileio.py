"""State on disk: files appear whole or not at all, and are validated when read."""

import codecs
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from ssal3d.errors import REMEDIES, UnwritableError, UserError
from ssal3d.typed import check_value

SCHEMA = 1
# Why something cannot be written.
REFUSALS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG),
)
LOCK_NAME = '.lock'
_HALF_CHARACTER = re.compile(r'\\u[dD][89a-fA-F]')  # a surrogate; JSON writes two for one character


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` and rename it to ``path`` when the block succeeds.

    The file (or folder) is fsynced before and its parent after the rename, so a killed or powered-off machine leaves
    either the old content or the new.

    Raises:
        UnwritableError: If the operating system refuses: the disk is full, the folder is read-only, or something else
            stands at the path.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(temporary)
        try:
            yield temporary
            if temporary.is_dir():
                for child in temporary.rglob('*'):
                    if child.is_file():
                        _fsync(child)
                remove(path)
            _fsync(temporary)
            os.replace(temporary, path)
            _fsync(path.parent)
        finally:
            remove(temporary)
    except OSError as error:
        if error.errno not in REFUSALS or not _concerns(error, path):
            raise
        raise UnwritableError(f'{path}: cannot be written ({error.strerror}); {REMEDIES[error.errno]}') from None


def _concerns(error: OSError, path: Path) -> bool:
    """Whether an error is about what is being written; errors of ``write`` name no file."""
    names = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return not names or any(
        name == path or path.parent in (name, *name.parents) or name in path.parents for name in names
    )


@contextmanager
def atomic_open(path: str | os.PathLike, mode: str = 'wb') -> Iterator[IO]:
    """Open a file for writing that takes the place of ``path`` when the block succeeds; see `atomic_path`."""
    with atomic_path(path) as temporary, open(temporary, mode) as file:
        yield file


@contextmanager
def exclusive(folder: str | os.PathLike, option: str) -> Iterator[None]:
    """Hold a folder for this process; the operating system lets go of it when the process ends, however it ends.

    Processes that this one starts do not hold it.

    Args:
        folder: The folder; it is made if need be.
        option: The command's option that names it, for the error.

    Raises:
        UserError: If the folder cannot be written, or another process holds it.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK_NAME, 'w')  # noqa: SIM115 - closed below
    except OSError as error:
        raise UserError(
            f'{folder}: cannot write here ({error.strerror}); choose another folder with {option}'
        ) from None
    with lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f'{folder}: another run is writing here; wait for it or stop it') from None
        yield


def refuse_inputs(out: str | os.PathLike, *inputs: str | os.PathLike, inside: bool = False) -> None:
    """Refuse to write over what a command reads.

    Args:
        out: What the command writes.
        inputs: Files and folders that it reads.
        inside: Whether to refuse what lies in one of these folders, too: it would be read the next time.

    Raises:
        UserError: If ``out`` is one of them, by whatever name, or lies in one.
    """
    place = Path(out).resolve()
    for given in inputs:
        own = Path(given).resolve()
        if own == place:
            raise UserError(f'{out}: is an input of this command; give another --out')
        if inside and own in place.parents:
            raise UserError(f'{out}: lies in {given}, which this command reads; give another --out')


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write ``content`` atomically as indented JSON."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=False, allow_nan=False) + '\n')


def read_json(
    path: str | os.PathLike, *, schema: bool = True, required: tuple[str, ...] = (), holds: Any = None
) -> Any:
    """Read a JSON file.

    Args:
        path: A JSON file.
        schema: Whether the file must be an object with ``"schema": 1``.
        required: Keys that must be there.
        holds: Annotation of the content, see `ssal3d.typed.check_value`; any by default.

    Raises:
        UserError: If the file is missing, is not JSON, has another schema, lacks a key or holds values of other types.
    """
    path = Path(path)
    content = parse_json(read_text(path), path)
    if (schema or required) and not isinstance(content, dict):
        raise UserError(f'{path}: found {type(content).__name__}, expected a JSON object')
    if schema and (content.get('schema') != SCHEMA or content['schema'] is True):
        raise UserError(
            f'{path}: found schema {content.get("schema")!r}, expected {SCHEMA}; this file was written by another '
            'version of ssal3d or is not one of its files'
        )
    missing = [key for key in required if key not in content]
    if missing:
        raise UserError(f'{path}: missing key {missing[0]!r}; expected the keys {", ".join(required)}')
    if holds is not None:
        check_value(content, holds, path)
    return content


def parse_json(text: str, source: str | os.PathLike) -> Any:
    """Return what a JSON text says.

    Args:
        text: JSON, decoded.
        source: Where it stands, for the message.

    Raises:
        UserError: If it is not JSON, nests too deep, or holds a number that is not finite or half a character.
    """
    try:
        content = json.loads(text, parse_constant=_finite, parse_float=_finite)
        refuse_half_characters(text, content)
    except RecursionError:
        raise UserError(f'{source}: not valid JSON (it nests too deep); write it again') from None
    except ValueError as error:  # also of whole numbers with thousands of digits
        raise UserError(f'{source}: not valid JSON ({error}); write it again') from None
    return content


def refuse_half_characters(text: str, content: Any) -> None:
    """Raise a ValueError if JSON names half a character, which no file and no terminal can hold.

    Args:
        text: JSON, decoded.
        content: What it says.
    """
    if _HALF_CHARACTER.search(text):
        json.dumps(content, ensure_ascii=False).encode()


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'found the number {text}, expected a finite one')
    return value


def is_file_name(name: str) -> bool:
    """Whether a name, e.g. a frame's id from a file, stays in the folder that it is put into.

    >>> [is_file_name(name) for name in ('000123', 'a.b', '../a', '/a', '..', '')]
    [True, True, False, False, False, False]
    """
    return bool(name) and name not in ('.', '..') and '/' not in name and '\\' not in name and name.isprintable()


def read_text(path: str | os.PathLike, remedy: str = 'check the path') -> str:
    """Read a text file that a person or a foreign tool wrote: UTF-8, or UTF-16 that says so.

    Programs on Windows put a byte order mark in front; it is no part of the text.

    Args:
        path: A text file.
        remedy: What to do if there is no such file.

    Raises:
        UserError: If the file is missing, cannot be read or is not text.
    """
    try:
        with open(
            path, 'rb', buffering=0
        ) as file:  # a third of the time of Path.read_text, for thousands of small files
            content = file.readall()
    except FileNotFoundError:
        raise UserError(f'{path}: no such file; {remedy}') from None
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); {remedy}') from None
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode('utf-16') if wide else content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: not a text file ({error}); expected UTF-8, save it again') from None
    if wide and text and not any(character.isascii() for character in text[:80]):  # any two bytes are UTF-16
        raise UserError(f'{path}: not a text file; expected UTF-8, save it again')
    return text


def sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest() if hasattr(hashlib, 'file_digest') else _digest(file)


def digest(content: Any) -> str:
    """Return the SHA-256 of JSON content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file; it is read once while it stays as it is."""
    status = Path(path).stat()
    return _file_digest(str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _file_digest(path: str, changed: int, size: int) -> str:
    return sha256(path)


def remove(path: str | os.PathLike) -> None:
    """Remove a file or a folder if it is there."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike, deep: bool = False) -> None:
    """Remove what killed runs left half written in a folder that this process holds exclusively, see `exclusive`.

    Args:
        folder: Held by this process alone.
        deep: Whether to look into the folders below as well.
    """
    find = Path(folder).rglob if deep else Path(folder).glob
    for path in list(find('.*.tmp')):
        remove(path)


def _digest(file: Any) -> str:
    digest = hashlib.sha256()  # Python 3.10 has no hashlib.file_digest
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
