"""The command ``ssal3d labels export``, to be run from the repository."""

import sys

from ssal3d.cli.labels import main

if __name__ == '__main__':
    main(['export', *sys.argv[1:]])
