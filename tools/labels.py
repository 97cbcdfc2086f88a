"""Carry a query to the people who label, and their boxes back; the same as ``ssal3d labels``."""

from ssal3d.cli.labels import main
from ssal3d.errors import command

if __name__ == '__main__':
    command(main)()
