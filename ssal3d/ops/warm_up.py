"""Compile the numba kernels of the package, so that no run waits for it: ``python -m ssal3d.ops.warm_up``.

A module with kernels has a function ``_warm_up`` that calls each kernel on tiny inputs of the types used in practice.
Compiled kernels are cached on disk beside the sources.
"""

import importlib
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def modules_to_warm_up() -> list[str]:
    """Return the modules of the package that have a ``_warm_up``; their text tells, none is imported."""
    paths = [path for path in ROOT.rglob('*.py') if '\ndef _warm_up(' in path.read_text()]
    return sorted('.'.join(path.relative_to(ROOT.parent).with_suffix('').parts) for path in paths)


def warm_up() -> list[str]:
    """Compile the kernels of the package and return the names of the modules that have some."""
    names = modules_to_warm_up()
    for name in names:
        importlib.import_module(name)._warm_up()
    return names


def main() -> None:
    """Warm up everything and say in one line what was done."""
    start = time.monotonic()
    warmed = warm_up()
    print(f'kernels of {len(warmed)} modules compiled or found in the cache, {time.monotonic() - start:.0f} s')


if __name__ == '__main__':
    main()
