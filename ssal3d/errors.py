"""Errors that a user can mend, and how commands report them."""

import functools
import os
import sys
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
    **dict.fromkeys(('mcap', 'mcap_protobuf', 'mcap_ros2', 'foxglove_schemas_protobuf'), 'mcap'),
    **dict.fromkeys(('google', 'google_crc32c'), 'waymo'),
}


class UserError(Exception):
    """A mistake in the input: one line with file, frame, found value, expected value and remedy."""


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
    close = get_close_matches(str(found), known, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ''
    return UserError(f"unknown {kind} '{found}': expected one of {', '.join(known)}{hint}")


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
        except BrokenPipeError:  # of `| head`, which has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except KeyboardInterrupt:
            print('interrupted; what was finished is kept', file=sys.stderr)
            sys.exit(130)

    return run


def one_line(error: BaseException) -> str:
    """Fold an error's message to a single line."""
    return ' '.join(str(error).split())
