"""The command ``ssal3d test``, to be run from the repository."""

from ssal3d.cli.test import main

if __name__ == '__main__':
    main()
