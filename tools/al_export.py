"""Write scans and pre-labels of a query for an annotation tool; the same as ``labels.py export``."""

from ssal3d.cli.labels import export_main
from ssal3d.errors import command

if __name__ == '__main__':
    command(export_main)()
