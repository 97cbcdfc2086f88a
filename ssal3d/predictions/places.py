"""Where predictions live: a folder of this machine, or a prefix of an object store, through the file systems of Arrow.

An object appears whole, when it has been sent; there is nothing to rename. What is complete is told by a manifest,
which is sent last: names, sizes and digests of the parts.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import lru_cache, total_ordering
from hashlib import sha256
from pathlib import Path
from typing import Any, TypedDict, TypeVar
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from ssal3d.errors import UserError, one_line
from ssal3d.fileio import SCHEMA, file_digest, parse_json
from ssal3d.typed import check_value

MANIFEST = 'manifest.json'
CONNECTIONS = 16  # requests at a time; each waits tens of milliseconds
Item = TypeVar('Item')
Result = TypeVar('Result')


@total_ordering
class ObjectPath:
    """A place in an object store, with what predictions need of `pathlib.Path`.

    Args:
        url: ``scheme://bucket/prefix``: s3, gs, abfs or hdfs of Arrow, or any scheme of an installed fsspec file
            system. What Arrow's URLs may say behind a question mark (``endpoint_override``, ``region``) stays with all
            paths below.
    """

    def __init__(self, url: str) -> None:
        bare, mark, options = url.partition('?')
        self.url, self.options = bare.rstrip('/'), mark + options

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f'ObjectPath({self.url + self.options!r})'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and repr(self) == repr(other)

    def __lt__(self, other: 'ObjectPath') -> bool:
        return self.url < other.url

    def __hash__(self) -> int:
        return hash(repr(self))

    def __truediv__(self, name: str) -> 'ObjectPath':
        return ObjectPath(f'{self.url}/{name}{self.options}')

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.url.rpartition('/')[2]

    def exists(self) -> bool:
        """Return whether there is an object or a prefix of this name."""
        return self._kind() != fs.FileType.NotFound

    def is_dir(self) -> bool:
        """Return whether objects lie below."""
        return self._kind() == fs.FileType.Directory

    def glob(self, pattern: str) -> Iterator['ObjectPath']:
        """Yield the objects right below whose name fits a pattern, in no order."""
        yield from (self / name for name in self.sizes() if fnmatch(name, pattern))

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every object right below by name, by one listing."""
        with self._requesting('listed'):
            found = self._system().get_file_info(fs.FileSelector(self._path(), allow_not_found=True))
        return {info.base_name: info.size for info in found if info.type == fs.FileType.File}

    def open(self) -> pa.NativeFile:
        """Open the object for reading at any place.

        Raises:
            FileNotFoundError: If there is none.
            UserError: If the store does not give it.
        """
        with self._requesting('read'):
            return self._system().open_input_file(self._path())

    def read_bytes(self) -> bytes:
        """Return the content of the object; raises like `open`."""
        with self.open() as file, self._requesting('read'):
            return file.read()

    def write_bytes(self, content: bytes | pa.Buffer) -> None:
        """Send an object at once; until it is there whole, what was there stays.

        Args:
            content: What to write.

        Raises:
            UserError: If the store refuses it.
        """
        with self._requesting('written'), self._system().open_output_stream(self._path()) as stream:
            stream.write(content)

    def _kind(self) -> fs.FileType:
        with self._requesting('looked at'):
            return self._system().get_file_info(self._path()).type

    def _system(self) -> fs.FileSystem:
        parts = urlsplit(self.url)
        return _file_system(f'{parts.scheme}://{parts.netloc}{self.options}')

    def _path(self) -> str:
        parts = urlsplit(self.url)
        return unquote(f'{parts.netloc}{parts.path}')

    @contextmanager
    def _requesting(self, what: str) -> Iterator[None]:
        """Turn whatever the store says into one line."""
        try:
            yield
        except FileNotFoundError:
            if what == 'read':
                raise
            raise UserError(f'{self}: cannot be {what}: there is no such bucket; make it or correct the URL') from None
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f'{self}: cannot be {what} ({one_line(error)}); check the URL, the credentials of the store in the '
                'environment, and the connection'
            ) from None


Place = Path | ObjectPath


def place(where: str | Path | ObjectPath) -> Place:
    """Return the place that a path or a URL names.

    >>> place('s3://bucket/run/'), place('predictions').name, place('file:///data/run') == Path('/data/run')
    (ObjectPath('s3://bucket/run'), 'predictions', True)
    """
    if isinstance(where, Path | ObjectPath):
        return where
    if where.startswith('file://'):
        return Path(unquote(urlsplit(where).path))
    return ObjectPath(where) if '://' in where else Path(where)


def opened(where: Place) -> Any:
    """Return what Arrow's readers take for a place."""
    return where.open() if isinstance(where, ObjectPath) else where


def at_once(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what a function makes of places, in order; requests to an object store wait at the same time."""
    items = list(items)
    if not any(isinstance(item, ObjectPath) for item in items):
        return list(map(function, items))
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return list(threads.map(function, items))


class _Part(TypedDict):
    bytes: int
    sha256: str


class _Manifest(TypedDict):
    parts: Mapping[str, _Part]


def write_manifest(folder: Place, digests: Mapping[str, str]) -> None:
    """Tell which parts a finished pass has; a folder of a machine needs no manifest.

    Args:
        folder: The folder of the parts.
        digests: SHA-256 by name, of those that are known; the others are read.
    """
    if isinstance(folder, ObjectPath):
        there = {name: size for name, size in sorted(folder.sizes().items()) if fnmatch(name, 'part-*.parquet')}
        try:
            before = _manifest(folder) or {}
        except UserError:  # damaged: it is replaced
            before = {}
        same = {name: part['sha256'] for name, part in before.items() if part['bytes'] == there.get(name)}
        known = {**same, **digests}
        unknown = [folder / name for name in there if name not in known]
        found = {**dict(zip([part.name for part in unknown], at_once(_sha256, unknown))), **known}
        parts = {name: {'bytes': size, 'sha256': found[name]} for name, size in there.items()}
        (folder / MANIFEST).write_bytes(json.dumps({'schema': SCHEMA, 'parts': parts}, indent=1).encode())


def read_manifest(folder: ObjectPath) -> Mapping[str, Any] | None:
    """Return size and SHA-256 of the parts of a finished pass by name; None if there is no manifest.

    Raises:
        UserError: If it is not one, or a part that it names is missing or has another size.
    """
    parts = _manifest(folder)
    if parts is None:
        return None
    there = folder.sizes()
    for name, part in parts.items():
        if there.get(name) != part['bytes']:
            found = f'{there[name]} bytes' if name in there else 'nothing'
            raise UserError(
                f'{folder}/{name}: found {found}, expected {part["bytes"]} bytes as in {MANIFEST}; run the pass again, '
                'what is finished is kept'
            )
    return parts


def _manifest(folder: ObjectPath) -> Mapping[str, Any] | None:
    """Return what a manifest says of parts, whether they are there or not."""
    path = folder / MANIFEST
    try:
        content = parse_json(path.read_bytes().decode(errors='replace'), str(path))
    except FileNotFoundError:
        return None
    check_value(content, _Manifest, str(path))
    if 'parts' not in content:
        raise UserError(f'{path}: lacks parts; delete it and run the pass again')
    for name, part in content['parts'].items():
        if not {'bytes', 'sha256'} <= part.keys():
            raise UserError(f'{path}: {name} lacks bytes or sha256; delete the manifest and run the pass again')
    return content['parts']


def digests_of(folder: Place, parts: Collection[Place]) -> dict[str, str]:
    """Return the SHA-256 of the parts of a folder by name; those of an object store as its manifest tells them."""
    if isinstance(folder, Path):
        return {part.name: file_digest(part) for part in parts if isinstance(part, Path)}
    known = read_manifest(folder) or {}
    unknown = [part for part in parts if part.name not in known]
    found = dict(zip([part.name for part in unknown], at_once(_sha256, unknown)))
    return {part.name: known[part.name]['sha256'] if part.name in known else found[part.name] for part in parts}


def _sha256(part: Any) -> str:
    return sha256(part.read_bytes()).hexdigest()


@lru_cache(maxsize=16)
def _file_system(root: str) -> fs.FileSystem:
    """Return the file system of a URL's scheme and bucket; it holds the connections."""
    try:
        return fs.FileSystem.from_uri(root)[0]
    except pa.ArrowInvalid as error:
        scheme = root.partition('://')[0]
        if 'nrecognized filesystem type' not in str(error):
            raise UserError(f'{root}: not the URL of a file system ({one_line(error)}); correct it') from None
    try:
        import fsspec

        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ImportError, ValueError) as error:
        raise UserError(
            f'{root}: neither Arrow nor fsspec opens {scheme}:// ({one_line(error)}); install the package of fsspec for it, '
            'or correct the URL'
        ) from None
