"""Different spellings of one frame's id: leading zeros, upper case, endings of files."""

import re
from collections.abc import Iterable
from pathlib import Path

_ENDING = re.compile(r'\.(bin|npy|pcd|ply|txt|json|png|jpg)$')


def canonical(frame_id: str) -> str:
    """Return what different spellings of an id have in common.

    >>> canonical('000007'), canonical(' 7 '), canonical('Seq_01/0007.bin')
    ('7', '7', 'seq_1/7')
    """
    name = _ENDING.sub('', frame_id.strip().lower())
    return re.sub(r'\d+', lambda found: found[0].lstrip('0') or '0', name)


def meant(frame_id: str, known: Iterable[str]) -> str:
    """Return a hint at the known frame that an unknown id probably means; nothing if there is none.

    >>> meant('7', ['000006', '000007']), meant('8', ['000007'])
    ("; did you mean '000007'?", '')
    """
    spelt = canonical(frame_id)
    twin = next((name for name in known if canonical(name) == spelt), None)
    return f"; did you mean '{twin}'?" if twin is not None else ''


def meant_file(path: Path) -> str:
    """Return a hint at the file that a missing one probably is: another ending, or other zeros in its name.

    Args:
        path: The file that is missing.
    """
    spelt = canonical(path.stem)
    names = sorted(other.name for other in path.parent.glob('*')) if path.parent.is_dir() else []
    twin = next((name for name in names if not name.startswith('.') and canonical(name) == spelt), None)
    return f'; did you mean {twin}?' if twin is not None else ''
