"""The command ``ssal3d simulate``, to be run from the repository."""

from ssal3d.cli.simulate import main

if __name__ == '__main__':
    main()
