"""UUIDs that carry our box ids: tools that want UUIDs as keys hand the ids back with them."""

import hashlib
import re

OBJECT, FIGURE, FRAME = '3d00', '3d01', '3d02'
_OURS = re.compile(r'[0-9a-f]{8}-3d00-4000-8000-([0-9a-f]{12})')


def key_of(number: int, batch: str, kind: str = OBJECT) -> str:
    """Return a UUID for a number below 2^48.

    Args:
        number: A box id or a frame's position.
        batch: Whatever tells batches apart, so that keys of two batches in one project differ.
        kind: `OBJECT`, `FIGURE` or `FRAME`.

    >>> key_of(17, 'round_1')
    'c4772379-3d00-4000-8000-000000000011'
    """
    return f'{hashlib.sha256(batch.encode()).hexdigest()[:8]}-{kind}-4000-8000-{number:012x}'


def id_of(key: str) -> str:
    """Return the box id in an object's key; empty for a key that is not ours.

    >>> id_of('34cccb04-3d00-4000-8000-000000000011'), id_of('0e3ae9c5-6ee4-4e41-a5c1-1f4d2f3b6a10')
    ('17', '')
    """
    match = _OURS.fullmatch(key.lower())
    return str(int(match[1], 16)) if match else ''
