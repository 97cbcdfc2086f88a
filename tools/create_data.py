"""The command ``ssal3d create-data``, to be run from the repository."""

from ssal3d.cli.create_data import main

if __name__ == '__main__':
    main()
