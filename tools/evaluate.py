"""The command ``ssal3d evaluate``, to be run from the repository."""

from ssal3d.cli.evaluate import main

if __name__ == '__main__':
    main()
