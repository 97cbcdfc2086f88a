"""The command ``ssal3d select``, to be run from the repository."""

from ssal3d.cli.select import main

if __name__ == '__main__':
    main()
