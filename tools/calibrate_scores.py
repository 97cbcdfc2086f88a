"""The command ``ssal3d calibrate``, to be run from the repository."""

from ssal3d.cli.calibrate import main

if __name__ == '__main__':
    main()
