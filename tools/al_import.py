"""The command ``ssal3d labels import``, to be run from the repository."""

import sys

from ssal3d.cli.labels import main

if __name__ == '__main__':
    main(['import', *sys.argv[1:]])
