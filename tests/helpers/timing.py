"""CPU time of short actions."""

import time


def seconds(action):
    """CPU seconds of the fastest of four runs, after one that may compile."""
    action()
    times = []
    for _ in range(4):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)
