"""CPU time, which other processes of the machine change less than time on the clock, and a unit to compare machines."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits


def fastest(call: Callable[[], Any], repeats: int = 5) -> float:
    """Return the least CPU seconds of some calls, all threads of this process together."""
    return timed(call, repeats)[0]


def timed(call: Callable[[], Any], repeats: int = 5) -> tuple[float, Any]:
    """Return the least CPU seconds of some calls, and what the last one returned."""
    seconds, result = [], None
    for _ in range(repeats):
        result = None  # what the call before returned goes first
        start = time.process_time()
        result = call()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def calibration() -> float:
    """Return the CPU seconds of a fixed mix on one thread: a product, a sort, a copy, a digest, and Python."""
    rng = np.random.default_rng(0)
    square = rng.random((512, 512), dtype=np.float32)
    numbers, block = rng.random(500_000), np.zeros(2**24, dtype=np.uint8)

    def mix() -> None:
        for _ in range(4):
            square @ square
            block.copy()
        np.sort(numbers)
        hashlib.sha256(block).digest()
        table: dict[int, int] = {}
        for number in range(100_000):
            table[number % 1000] = table.get(number % 1000, 0) + number

    with threadpool_limits(1):  # threads that wait for each other take CPU seconds, too
        return fastest(mix, 7)
