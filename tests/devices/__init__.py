"""An imagined GPU, and everything that would run on a real one."""
