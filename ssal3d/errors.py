"""Errors that a user can correct, and how commands report them."""

import errno
import functools
import os
import re
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NoReturn

# Which extra of the package brings what its core does without.
EXTRAS = {
    **dict.fromkeys(('torch', 'mmcv', 'mmdet', 'mmdet3d', 'spconv'), 'train'),
    **dict.fromkeys(('trimesh', 'embreex'), 'sim'),
    'matplotlib': 'report',
    'pypcd4': 'clouds',
    'rosbags': 'bags',
    'nuscenes': 'nuscenes',
    'tensorboard': 'tensorboard',
    'ray': 'ray',
    **dict.fromkeys(('mcap', 'mcap_protobuf', 'mcap_ros2', 'foxglove_schemas_protobuf'), 'mcap'),
    **dict.fromkeys(('google', 'google_crc32c'), 'waymo'),
}


# What to do about an error of the operating system.
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), 'make room and run the command again; what was finished is kept'),
    errno.EROFS: 'choose a folder that can be written',
    **dict.fromkeys((errno.EACCES, errno.EPERM), 'change the permissions or choose another path'),
    errno.EISDIR: 'a file was expected; give another path',
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), 'a folder was expected; give another path'),
    errno.ENOENT: 'check the path',
    errno.EMFILE: 'raise the limit of open files (ulimit -n) or lower num_workers',
    errno.ENAMETOOLONG: 'choose a shorter name',
}

LONGEST_LINE = 1200  # characters of a message

_WORKER = re.compile(r'Caught (\w+) in \w[\w ]*\.\s*Original Traceback')


class UserError(Exception):
    """A mistake in the input: one line with file, frame, found value, expected value and remedy.

    A process of a data loader sends its traceback as the text; what the error says itself is kept.
    """

    def __init__(self, text: object = '') -> None:
        super().__init__(own_text(str(text)))


class UnwritableError(UserError):
    """The operating system refuses to write: the data is fine, and the next frame would fail as well."""


class ShortfallError(Exception):
    """The work ended correctly but short of what was asked for, e.g. the pool ran out before the budget."""


class WaitingError(Exception):
    """The work goes on when people have done their part; what they are to do was told already."""


def unknown_name(kind: str, found: object, known: list[str]) -> UserError:
    """Build the error for a misspelt name.

    Args:
        kind: What the name names, e.g. ``'class'``.
        found: The name that was given.
        known: The names that exist.
    """
    names = [str(name) for name in known]
    close = get_close_matches(str(found), names, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ''
    return UserError(f"unknown {kind} '{found}': expected one of {', '.join(names)}{hint}")


def command(main: Callable[..., int | None]) -> Callable[..., NoReturn]:
    """Turn a command's ``main`` into a process: exit 0 done or waiting, 2 user error, 3 shortfall, 1 a bug."""

    @functools.wraps(main)
    def run(*args: Any, **kwargs: Any) -> NoReturn:
        try:
            sys.exit(main(*args, **kwargs) or 0)
        except UserError as error:
            print(f'error: {one_line(error)}', file=sys.stderr)
            sys.exit(2)
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or '').partition('.')[0])
            if extra is None:
                raise
            print(
                f"error: {error.name} is not installed; install 'ssal3d[{extra}]', see docs/install.md", file=sys.stderr
            )
            sys.exit(2)
        except ShortfallError as error:
            print(f'stopped short: {one_line(error)}', file=sys.stderr)
            sys.exit(3)
        except WaitingError:
            sys.exit(0)
        except OSError as error:
            if isinstance(error, BrokenPipeError):  # of `| head`, which has read enough
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(141)
            print(f'error: {one_line(reason(error))}', file=sys.stderr)
            sys.exit(2)
        except UnicodeError as error:
            print(f'error: a file or name is not UTF-8 ({one_line(error)}); save it again as UTF-8', file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print('interrupted; what was finished is kept', file=sys.stderr)
            sys.exit(130)

    return run


def own_text(text: str) -> str:
    r"""Return what an error of a loader's process says itself, without the traceback that PyTorch puts around it.

    >>> own_text('Caught UserError in DataLoader worker process 0.\nOriginal Traceback ...\nssal3d.UserError: a: b')
    'a: b'
    """
    found = _WORKER.match(text)
    if not found:
        return text
    _, mark, said = text.rpartition(f'{found[1]}: ')
    return said.strip() if mark else text


def reason(error: OSError) -> str:
    """Return an operating system's error as one line: path, reason and what to do about it."""
    path = next((str(name) for name in (error.filename2, error.filename) if name), '')
    if error.errno is None or not error.strerror:
        return ' '.join(own_text(str(error)).split())  # a process of a data loader sends no more than text
    remedy = REMEDIES.get(error.errno, 'check the path')
    return f'{path}: {error.strerror}; {remedy}' if path else f'{error.strerror}; {remedy}'


def raised_by(error: Exception) -> str:
    """Return what went wrong in a user's own module or config, and in which line of it.

    Args:
        error: Caught around the import or the reading of the file.
    """
    if isinstance(error, SyntaxError):  # says it itself
        return f'{type(error).__name__}: {error}'
    modules = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == '<module>']
    where = f', {modules[-1].filename}, line {modules[-1].lineno}' if modules else ''
    return f'{type(error).__name__}: {error}{where}'


def lacks_extra(error: Exception) -> bool:
    """Return whether an error says that a package is missing which an extra of ours brings; `command` tells which."""
    return isinstance(error, ModuleNotFoundError) and (error.name or '').partition('.')[0] in EXTRAS


def one_line(error: object) -> str:
    """Fold an error's message to a single line that a terminal shows and does not obey.

    Messages quote what files say; a value of any length, or one that moves the cursor, must not hide the rest.
    """
    text = ' '.join(str(error).split())
    if not text.isprintable():
        text = ''.join(sign if sign.isprintable() else sign.encode('unicode_escape').decode('ascii') for sign in text)
    half = LONGEST_LINE // 2
    return text if len(text) <= LONGEST_LINE else f'{text[:half]} ... {text[-half:]}'
