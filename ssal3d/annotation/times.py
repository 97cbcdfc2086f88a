"""When frames were taken, for formats that order them by time."""

from collections.abc import Sequence

from ssal3d.annotation.model import LabelFrame

_STEP = 100_000_000  # ns between frames without a time


def frame_times(frames: Sequence[LabelFrame]) -> dict[str, int]:
    """Return the time of each frame in ns: its own if all have different ones, else a tenth of a second apart."""
    own = [frame.time_ns for frame in frames]
    if None in own or len(set(own)) < len(own):
        return {frame.frame_id: index * _STEP for index, frame in enumerate(frames)}
    return {frame.frame_id: time for frame, time in zip(frames, own) if time is not None}
