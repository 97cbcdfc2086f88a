"""Take labels back from an annotation tool; the same as ``labels.py import``."""

from ssal3d.cli.labels import import_main
from ssal3d.errors import command

if __name__ == '__main__':
    command(import_main)()
