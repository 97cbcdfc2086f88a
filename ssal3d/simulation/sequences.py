"""Which frames belong together: short sequences of near-duplicates, and the split that keeps them whole.

Everything is a function of the seed and the frame's number alone, so any worker can make any frame.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_BLOCK = 64  # frames whose sequences are drawn together; no sequence crosses a block
_LENGTHS = (1, 2, 3, 4, 6, 8)  # frames of a sequence
_SHARES = (0.46, 0.20, 0.12, 0.10, 0.08, 0.04)  # of sequences with these lengths
_STREAM_LENGTHS, _STREAM_SPLIT = 1, 2


@dataclass(frozen=True)
class Step:
    """A frame's place.

    Attributes:
        sequence: Number of the frame that the sequence starts with; identifies it.
        step: How many frames of the sequence come before.
        length: Frames in the sequence.
    """

    sequence: int
    step: int
    length: int


def step_of(seed: int, frame: int) -> Step:
    """Return the place of a frame."""
    block, offset = divmod(frame, _BLOCK)
    starts = _starts(seed, block)
    index = int(np.searchsorted(starts, offset, side='right')) - 1
    first, after = starts[index], (*starts, _BLOCK)[index + 1]
    return Step(block * _BLOCK + first, offset - first, after - first)


def split_frames(
    seed: int, frames: int, val: int, place: Callable[[int, int], Step] = step_of
) -> tuple[list[int], list[int]]:
    """Choose whole sequences for validation until it has its number of frames.

    Args:
        seed: Of the simulation.
        frames: Frames ``0 ... frames - 1`` are split.
        val: Frames wanted for validation; met exactly unless short sequences run out, never exceeded.
        place: Gives the place of a frame.

    Returns:
        Train and validation frames, both rising.
    """
    steps = [place(seed, frame).sequence for frame in range(frames)]
    firsts, counts = np.unique(steps, return_counts=True)
    chosen, left = set(), val
    for index in np.random.default_rng([seed, _STREAM_SPLIT]).permutation(len(firsts)):
        if counts[index] <= left:
            chosen.add(int(firsts[index]))
            left -= int(counts[index])
    train = [frame for frame, first in enumerate(steps) if first not in chosen]
    return train, [frame for frame, first in enumerate(steps) if first in chosen]


@lru_cache(maxsize=256)
def _starts(seed: int, block: int) -> tuple[int, ...]:
    rng = np.random.default_rng([seed, _STREAM_LENGTHS, block])
    lengths = rng.choice(_LENGTHS, size=_BLOCK, p=_SHARES)
    ends = np.cumsum(lengths)
    return (0, *(int(end) for end in ends[ends < _BLOCK]))
