"""``ssal3d <command> ...``: finds the command and imports nothing else."""

import sys
from collections.abc import Sequence
from importlib import import_module

from ssal3d.commands import ALIASES, COMMANDS
from ssal3d.errors import command, unknown_name
from ssal3d.version import __version__


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the first word names.

    Args:
        argv: Words behind ``ssal3d``; those of the process by default.

    Raises:
        UserError: If there is no such command.
    """
    name, *words = (sys.argv[1:] if argv is None else argv) or ['--help']
    if name in ('-h', '--help', 'help'):
        print(overview())
    elif name in ('-V', '--version'):
        print(f'ssal3d {__version__}')
    else:
        name = ALIASES.get(name, name)
        if name not in COMMANDS:
            raise unknown_name('command', name, list(COMMANDS))
        import_module(COMMANDS[name].module).main(words)


def overview() -> str:
    """Return the text of ``ssal3d --help``."""
    from ssal3d.configs import SHIPPED

    width = max(map(len, COMMANDS))
    return '\n'.join(
        (
            'usage: ssal3d <command> ...',
            '',
            'Semi-supervised active learning for LiDAR 3D object detection.',
            '',
            'commands:',
            *(f'  {name:<{width}}  {entry.summary}' for name, entry in COMMANDS.items()),
            '',
            *(f'{alias} is another name of {name}. ' for alias, name in ALIASES.items()),
            "'ssal3d <command> --help' shows the options of a command and an example.",
            f'The shipped configs are in {SHIPPED}.',
        )
    )
