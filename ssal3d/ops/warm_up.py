"""Compile the numba kernels of the package, so that no run waits for it: ``python -m ssal3d.ops.warm_up``.

A module with kernels has a function ``_warm_up`` that calls each kernel on tiny inputs of the types used in practice.
Compiled kernels are cached on disk beside the sources.
"""

import argparse
import importlib
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from ssal3d.errors import EXTRAS

ROOT = Path(__file__).resolve().parents[1]


def modules_to_warm_up() -> list[str]:
    """Return the modules of the package that have a ``_warm_up``; their text tells, none is imported."""
    paths = [path for path in ROOT.rglob('*.py') if '\ndef _warm_up(' in path.read_text()]
    return sorted('.'.join(path.relative_to(ROOT.parent).with_suffix('').parts) for path in paths)


def warm_up(names: Sequence[str] | None = None, jobs: int = 1) -> list[str]:
    """Compile the kernels of modules and return the modules' names.

    Modules that need a package of an extra which is not installed are passed over: a light install has no torch.

    Args:
        names: Modules with a ``_warm_up``; all of the package without it.
        jobs: Compile in so many processes.
    """
    names = modules_to_warm_up() if names is None else list(names)
    if jobs > 1:
        with ProcessPoolExecutor(jobs, mp_context=get_context('spawn')) as pool:
            return [name for warmed in pool.map(warm_up, [[name] for name in names]) for name in warmed]
    return [name for name in names if _warm_up_one(name)]


def _warm_up_one(name: str) -> bool:
    """Compile the kernels of one module; return False if it needs a package that is not installed."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] not in EXTRAS:
            raise
        return False
    module._warm_up()
    return True


def main() -> None:
    """Warm up everything and say in one line what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--jobs', type=int, default=1, help='compile in so many processes')
    jobs = parser.parse_args().jobs
    start = time.monotonic()
    warmed = warm_up(jobs=jobs)
    print(f'kernels of {len(warmed)} modules compiled or found in the cache, {time.monotonic() - start:.0f} s')


if __name__ == '__main__':
    main()
