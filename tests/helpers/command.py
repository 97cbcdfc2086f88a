"""``ssal3d <command> ...`` as a file, for the process that starts commands warm."""

from ssal3d.cli.main import main

if __name__ == '__main__':
    main()
