"""The command ``ssal3d train``, to be run from the repository."""

from ssal3d.cli.train import main

if __name__ == '__main__':
    main()
