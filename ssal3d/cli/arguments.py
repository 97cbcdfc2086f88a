"""What the command lines share. Nothing here imports torch or MMEngine, so that ``--help`` is there at once."""

import argparse
from collections.abc import Sequence
from typing import Any

from ssal3d.commands import as_called
from ssal3d.errors import UserError
from ssal3d.fileio import is_file_name

Words = Sequence[str] | None  # of a command line; None: those of the process
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
_EXAMPLE = 'Example:\n'


def make_parser(command: str, doc: str | None) -> argparse.ArgumentParser:
    """Return the parser of a command.

    Args:
        command: Its name, e.g. ``'create-data'``.
        doc: Docstring of its module; what stands behind ``Example:`` is shown after the options.
    """
    about, _, example = as_called(doc or '').partition(_EXAMPLE)
    return argparse.ArgumentParser(
        prog=as_called(f'ssal3d {command}'),
        description=about.strip(),
        epilog=_EXAMPLE + example.rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_kind(kinds: argparse._SubParsersAction, name: str, text: str, parent: argparse.ArgumentParser) -> Any:
    """Return the parser of one kind of a command's work, e.g. of one data set, with the example of the command.

    Args:
        kinds: From ``parent.add_subparsers``.
        name: Its name on the command line.
        text: One line for people.
        parent: The parser of the command.
    """
    return kinds.add_parser(
        name, help=text, description=f'{text}.', epilog=parent.epilog, formatter_class=parent.formatter_class
    )


class Overrides(argparse.Action):
    """``KEY=VALUE ...`` as MMEngine's ``DictAction`` reads it, imported when it is used."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *rest: Any) -> None:
        """Parse the words and put the dictionary into the namespace."""
        for word in values:
            if '=' not in word.lstrip('='):
                parser.error(f"--cfg-options: found '{word}', expected KEY=VALUE, e.g. budget=100")
        from mmengine.config import DictAction

        read = DictAction(self.option_strings, self.dest)
        for word in values:
            try:
                read(parser, argparse.Namespace(), [word])
            except (AssertionError, RecursionError):  # of brackets that do not match, or of a call such as dict(...)
                parser.error(
                    f"--cfg-options: the value of '{word}' cannot be read; expected a word, a number, [1,2] or, for a "
                    'dictionary, a key for each of its values: KEY.Car=3 KEY.Cyclist=5'
                )
        read(parser, namespace, values, *rest)


def add_overrides(parser: argparse._ActionsContainer, example: str) -> None:
    """Add ``--cfg-options``.

    Args:
        parser: The parser or one of its groups.
        example: An override that makes sense for the command.
    """
    parser.add_argument(
        '--cfg-options', nargs='+', action=Overrides, metavar='KEY=VALUE', help=f'changes to the config, e.g. {example}'
    )


def add_config(parser: argparse._ActionsContainer, text: str) -> None:
    """Add the positional ``config``.

    Args:
        parser: The parser or one of its groups.
        text: What the config must hold.
    """
    parser.add_argument('config', help=f'{text}; a path, or ssal3d::PATH below the shipped configs')


def extra_tag(word: str) -> str:
    """Return the value of ``--extra-tag``, which file names begin with.

    Raises:
        UserError: If it would lead to another folder.
    """
    if not is_file_name(word):
        raise UserError(f"--extra-tag: found '{word}', expected what a file name may begin with, e.g. kitti")
    return word


def add_launcher(parser: argparse._ActionsContainer) -> None:
    """Add how several processes were started."""
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='how several processes were started')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
