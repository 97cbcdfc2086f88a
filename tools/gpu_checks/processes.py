"""Start a command and kill it with everything that it started; needs Linux and nothing but the standard library.

A process group is not enough: torchrun gives each of its workers a session of its own, so a worker outlives the group,
holds the card and writes on.
"""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path


def kill_all(process: subprocess.Popen) -> None:
    """Kill a process and all that descend from it, and wait for it.

    Args:
        process: Started by this process; nothing is done if it has ended.
    """
    if process.poll() is not None:
        return  # its number may be another's by now
    family = {process.pid}
    while True:  # until no new member is found: one that is stopped starts no other
        for member in family:
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGSTOP)
        grown = family | {child for child, parent in _parents().items() if parent in family}
        if grown == family:
            break
        family = grown
    for member in family:
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    process.wait()


def _parents() -> dict[int, int]:
    """Return the parent of every process that runs."""
    found = {}
    for entry in Path('/proc').glob('[0-9]*/stat'):
        with suppress(OSError):  # it ended meanwhile
            found[int(entry.parent.name)] = int(entry.read_text().rpartition(')')[2].split()[1])
    return found
