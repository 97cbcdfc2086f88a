"""When frames were taken, for formats that order them by time, and how long people worked on them."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from ssal3d.annotation.model import LabelFrame

BREAK = 600.0  # s; longer gaps between two edits are pauses, not work
_STEP = 100_000_000  # ns between frames without a time


def frame_times(frames: Sequence[LabelFrame]) -> dict[str, int]:
    """Return the time of each frame in ns: its own if all have different ones, else a tenth of a second apart."""
    recorded = [frame.time_ns for frame in frames]
    if None in recorded or len(set(recorded)) < len(recorded):
        return {frame.frame_id: index * _STEP for index, frame in enumerate(frames)}
    return {frame.frame_id: time for frame, time in zip(frames, recorded) if time is not None}


def working_time(stamps: Sequence[str]) -> float | None:
    """Return the seconds of work between edits, without pauses; None if fewer than two times are known.

    Args:
        stamps: ISO 8601 times at which a tool recorded edits; others are left out.

    >>> working_time(['2026-01-01T10:00:00Z', '2026-01-01T10:00:40Z', '2026-01-01T13:00:00Z', '2026-01-01T13:01:00Z'])
    100.0
    """
    times = sorted(time for stamp in stamps if (time := _seconds(stamp)) is not None)
    gaps = [after - before for before, after in pairwise(times)]
    return sum(gap for gap in gaps if gap <= BREAK) if gaps else None


def _seconds(stamp: str) -> float | None:
    try:
        return datetime.fromisoformat(stamp.replace('Z', '+00:00')).timestamp()
    except ValueError:
        return None
