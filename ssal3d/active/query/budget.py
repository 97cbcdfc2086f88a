"""A budget for any sampler: frames are bought one after another until it is spent."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssal3d.active.sampler import Candidate

STOP_RULES = ('include_crossing', 'exclude_crossing')


class AcquiredFrame(NamedTuple):
    """A bought frame.

    Attributes:
        candidate: What the sampler said about it.
        boxes: ``(C,)`` boxes it holds, annotated or predicted ones.
    """

    candidate: Candidate
    boxes: NDArray[np.int64]


class Acquisition(NamedTuple):
    """What was bought.

    Attributes:
        frames: In the order of purchase.
        spent: What they cost, in the budget's unit.
        stopped: ``'budget'`` or ``'pool_exhausted'``.
        refused: Frame whose boxes were looked at but not bought; with 'exclude_crossing' only.
    """

    frames: list[AcquiredFrame]
    spent: float
    stopped: str
    refused: int | None = None


def spend_budget(
    candidates: Iterable[Candidate],
    reveal: Callable[[int], NDArray[np.int64]],
    notify: Callable[[int, NDArray[np.int64]], None],
    price: Callable[[NDArray[np.int64]], float],
    budget: float,
    stop_rule: str = 'include_crossing',
) -> Acquisition:
    """Buy frames until the budget is spent.

    The next candidate is asked for only after the sampler was told about the last purchase.

    Args:
        candidates: A sampler's lazy order.
        reveal: Gives the ``(C,)`` boxes of a frame; called once per frame, when it is bought.
        notify: Tells the sampler what a bought frame holds.
        price: Gives what a frame with these boxes costs.
        budget: What to spend; 0 buys nothing.
        stop_rule: ``'include_crossing'``: also buy the frame that crosses the budget, nothing is looked at before it
            is bought; ``'exclude_crossing'``: stop before the frame that would exceed the budget, after a look at
            its boxes (released code of random selection).

    Returns:
        The bought frames, and why there are no more.
    """
    frames: list[AcquiredFrame] = []
    spent, includes = 0.0, stop_rule == 'include_crossing'
    if budget <= 0:
        return Acquisition(frames, spent, 'budget')
    for candidate in candidates:
        boxes = reveal(candidate.frame)
        after = round(spent + price(boxes), 9)  # sums of decimal prices, as people write them
        if not includes and after > budget:
            return Acquisition(frames, spent, 'budget', candidate.frame)
        spent = after
        frames.append(AcquiredFrame(candidate, boxes))
        notify(candidate.frame, boxes)
        if includes and spent >= budget:
            return Acquisition(frames, spent, 'budget')
    return Acquisition(frames, spent, 'budget' if spent >= budget else 'pool_exhausted')
