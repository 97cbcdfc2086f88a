"""How the virtual environment of this repository is made; only Python's standard library is used here."""
