"""Archives that come back from annotation tools, unpacked without trusting what they say."""

import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from ssal3d.errors import UserError

_GROWTH, _ALWAYS = 200, 1 << 30  # an archive may hold so many times its own bytes, and a gigabyte in any case


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield a folder, and how to call it in messages if it is the content of an archive.

    Args:
        path: A folder, which is yielded as it is, or an archive (zip, tar, gzipped tar).

    Raises:
        UserError: If it is neither, is damaged, or holds a file that would lie outside or be no plain file.
    """
    if path.is_dir():
        yield path, ''
        return
    if not path.is_file():
        raise UserError(f'{path}: no such file or folder; check --from')
    with tempfile.TemporaryDirectory(prefix='ssal3d-labels-') as folder:
        try:
            _unpack(path, Path(folder))
        except UserError:
            raise
        except Exception as error:  # a damaged archive can raise nearly anything
            raise UserError(f'{path}: not readable as an archive ({error}); give a folder, .zip or .tar') from None
        yield Path(folder), str(path)


def _unpack(path: Path, folder: Path) -> None:
    # By content: archives are renamed on their way. Tar first, because the end of a tar may look like that of a zip.
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            plain = (member.isfile() or member.isdir() for member in members)
            _check(path, ((member.name, member.size) for member in members), plain)
            tar.extractall(folder, [member for member in members if not _is_of_macos(member.name)], filter='data')
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            plain = (not stat.S_ISLNK(entry.external_attr >> 16) for entry in entries)
            _check(path, ((entry.filename, entry.file_size) for entry in entries), plain)
            names = [entry.filename for entry in entries if not _is_of_macos(entry.filename)]
            archive.extractall(folder, names)  # noqa: S202 - every name was checked
    else:
        raise shutil.ReadError('neither zip nor tar')


def _is_of_macos(name: str) -> bool:
    """Whether an entry is what macOS adds beside a file of the same name."""
    parts = PurePosixPath(name).parts
    return '__MACOSX' in parts or any(part.startswith('._') for part in parts)


def _check(path: Path, entries: Iterable[tuple[str, int]], plain: Iterable[bool]) -> None:
    """Refuse names that lead outside, links and devices, and more content than any labels have."""
    total = 0
    for (name, size), is_plain in zip(entries, plain, strict=True):
        inside = PureWindowsPath(name)  # it knows both kinds of slashes and drives; a colon elsewhere is part of a name
        if inside.anchor or '..' in inside.parts or not is_plain:
            raise UserError(
                f'{path}: found the entry {name!r}, expected plain files inside; the archive may be hostile, unpack it '
                'nowhere and ask where it comes from'
            )
        total += size
    most = _GROWTH * path.stat().st_size + _ALWAYS
    if total > most:
        raise UserError(
            f'{path}: unpacks to {total} bytes, expected at most {most}; unpack it by hand if that is right'
        )
