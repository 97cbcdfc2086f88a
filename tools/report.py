"""The command ``ssal3d report``, to be run from the repository."""

from ssal3d.cli.report import main

if __name__ == '__main__':
    main()
