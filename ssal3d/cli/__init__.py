"""The commands: ``ssal3d <command>``, or ``python tools/<script>.py`` from the repository; the same code."""
