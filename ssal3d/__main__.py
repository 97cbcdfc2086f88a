"""``python -m ssal3d <command> ...``, which launchers such as torchrun can start."""

from ssal3d.cli.main import main

main()
