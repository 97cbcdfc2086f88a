"""What the simulation tests share."""

from pathlib import Path

FRAMES, VAL, SEED = 24, 6, 7


def files_of(root: Path) -> dict[str, bytes]:
    """Return the content of every file of a data set."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.is_file() and not path.name.startswith('.')
    }
