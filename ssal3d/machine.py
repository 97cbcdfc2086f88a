"""On what, and with which version, something ran: what records of runs say."""

import platform
import subprocess
from pathlib import Path

from ssal3d.version import __version__


def own_version() -> str:
    """Return the version of ssal3d, with the commit if it runs from its repository; ``-dirty`` marks changed files."""
    root = Path(__file__).resolve().parents[1]
    if not (root / '.git').exists():
        return __version__
    command = ['git', '-C', str(root), 'describe', '--always', '--dirty', '--abbrev=10', '--exclude=*']
    try:
        commit = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:  # no git
        commit = ''
    return f'{__version__}+{commit}' if commit else __version__


def machine() -> str:
    """Return the name of the graphics card or the processor that trains."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else cpu_name()


def cpu_name() -> str:
    """Return the name of the processor."""
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()
