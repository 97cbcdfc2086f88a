"""What the machine has: a GPU by its driver, a CUDA compiler, cores and memory that this process may use."""

import os
import re
import shutil
import subprocess
from pathlib import Path

DRIVER = Path('/proc/driver/nvidia/version')
MEMORY_LIMITS = (Path('/sys/fs/cgroup/memory.max'), Path('/sys/fs/cgroup/memory/memory.limit_in_bytes'))


def gpus() -> list[str]:
    """Return the compute capabilities of the NVIDIA GPUs, e.g. ``['8.0', '9.0']``; ``['']`` for one of unknown kind.

    The driver is asked, not torch: a torch that does not fit the driver sees no GPU and says nothing.
    """
    if shutil.which('nvidia-smi'):
        command = ['nvidia-smi', '--query-gpu=compute_cap', '--format=csv,noheader']
        listed = subprocess.run(command, capture_output=True, text=True)
        if not listed.returncode and listed.stdout.strip():
            return sorted({line.strip() for line in listed.stdout.splitlines() if line.strip()})
    return [''] if DRIVER.exists() else []


def compiler_release(nvcc: Path | str) -> str:
    """Return the CUDA release of a compiler, e.g. ``'12.6'``, or ``''`` if it does not run."""
    try:
        printed = subprocess.run([nvcc, '--version'], capture_output=True, text=True).stdout
    except OSError:
        return ''
    found = re.search(r'release (\d+\.\d+)', printed)
    return found[1] if found else ''


def cuda_home(release: str) -> Path | None:
    """Return the folder of an installed CUDA toolkit whose major version is that of ``release``, if there is one."""
    homes = [os.environ.get('CUDA_HOME'), shutil.which('nvcc') and str(Path(shutil.which('nvcc') or '').parent.parent)]
    for home in [*filter(None, homes), '/usr/local/cuda']:
        if compiler_release(Path(home) / 'bin' / 'nvcc').split('.')[0] == release.split('.')[0]:
            return Path(home)
    return None


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def memory_gib() -> float:
    """Return the memory that this process may use, in GiB: that of the machine or of its container."""
    limits = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
    limits += [int(text) for path in MEMORY_LIMITS if path.exists() and (text := path.read_text().strip()).isdigit()]
    return min(limits) / 2**30


def compile_jobs(with_cuda: bool) -> int:
    """Return how many compilers may run at once: one nvcc takes up to 3 GiB, one C++ compiler 1 GiB."""
    return max(1, min(cores(), int(memory_gib() / (3 if with_cuda else 1))))
