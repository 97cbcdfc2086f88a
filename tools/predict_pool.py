"""The command ``ssal3d predict``, to be run from the repository."""

from ssal3d.cli.predict import main

if __name__ == '__main__':
    main()
