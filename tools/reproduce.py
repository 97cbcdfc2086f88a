"""The command ``ssal3d reproduce``, to be run from the repository."""

from ssal3d.cli.reproduce import main

if __name__ == '__main__':
    main()
