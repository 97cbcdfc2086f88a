"""The command ``ssal3d show``, to be run from the repository."""

from ssal3d.cli.show import main

if __name__ == '__main__':
    main()
