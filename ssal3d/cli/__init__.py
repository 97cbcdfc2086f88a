"""Bodies of the commands, one module each with ``main(argv)``."""
