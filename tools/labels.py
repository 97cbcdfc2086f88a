"""The command ``ssal3d labels``, to be run from the repository."""

from ssal3d.cli.labels import main

if __name__ == '__main__':
    main()
