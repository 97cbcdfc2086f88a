"""The memory allocator of Linux: tensors of a training step get the memory of the step before.

glibc gives a large block back to the system when it is freed, and the system hands out empty pages one by one when
the next step asks for as much. PyTorch's tuning guide advises other allocators; glibc's own can be told to keep it.
"""

import ctypes
import os
import platform

from ssal3d.compat.fix import Fix

KEPT = 2**30  # bytes of free memory at the end of the heap that a process keeps
# Parameters of mallopt(3) and their values. Larger blocks than 32 MiB cannot be kept.
OPTIONS = {-1: KEPT, -2: 64 * 2**20, -3: 32 * 2**20}  # trim threshold, what is asked for at a time, mmap threshold
USERS = ('GLIBC_TUNABLES', 'LD_PRELOAD', 'MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_TOP_PAD_')


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the process and those that it forks."""
    for option, value in OPTIONS.items():
        ctypes.CDLL(None).mallopt(option, value)


def _gives_memory_back() -> bool:
    """Return whether this is glibc, as it comes: a user who has chosen an allocator or its options keeps them."""
    return platform.libc_ver()[0] == 'glibc' and not any(os.environ.get(name) for name in USERS)


PREFERENCES = (
    Fix(
        name='kept-memory',
        problem='glibc returns freed tensors to the system; taking their pages anew is 10 to 20 % of a step on the CPU.',
        link='https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html',
        needs=('torch',),
        is_needed=_gives_memory_back,
        apply=keep_freed_memory,
    ),
)
