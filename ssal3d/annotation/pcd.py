"""Point clouds in the PCD format, binary and uncompressed: what every annotation tool reads."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HEADER = """# .PCD v0.7
VERSION 0.7
FIELDS x y z intensity
SIZE 4 4 4 4
TYPE F F F F
COUNT 1 1 1 1
WIDTH {count}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {count}
DATA binary
"""


def write_pcd(path: Path, points: NDArray[np.float32]) -> None:
    """Write ``(N, 4)`` points x, y, z in metres and intensity as PCD 0.7."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.ascontiguousarray(points, dtype='<f4').reshape(-1, 4)
    path.write_bytes(_HEADER.format(count=len(values)).encode() + values.tobytes())
