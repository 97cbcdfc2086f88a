"""Compile the numba kernels of the package, so that no run waits for it: ``python -m ssal3d.ops.warm_up``.

A module with kernels has a function ``_warm_up`` that calls each kernel on tiny inputs of the types used in practice,
and stands in `MODULES`. Compiled kernels are cached on disk beside the sources.
"""

import argparse
import importlib
import importlib.util
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

MODULES = (
    'ssal3d.ops.ball_query',
    'ssal3d.ops.boxes',
    'ssal3d.ops.grouping',
    'ssal3d.ops.point_membership',
    'ssal3d.ops.rotated_boxes',
    'ssal3d.ops.sampling',
    'ssal3d.ops.set_abstraction',
    'ssal3d.ops.sparse_conv',
    'ssal3d.ops.voxelize',
    'ssal3d.active.ensemble',
    'ssal3d.cpsp.background',
    'ssal3d.cpsp.membership',
    'ssal3d.cpsp.refine',
    'ssal3d.cpsp.scene',
    'ssal3d.data.kitti_format',
    'ssal3d.evaluation.kitti_ap',
)


def warm_up(modules: tuple[str, ...] = MODULES) -> list[str]:
    """Compile the kernels of the given modules and return the names of the modules that had some.

    Modules that are not there, or have no ``_warm_up``, are passed over.
    """
    warmed = []
    for name in modules:
        if _exists(name) and hasattr(module := importlib.import_module(name), '_warm_up'):
            module._warm_up()
            warmed.append(name)
    return warmed


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even its package is there
        return False


def main() -> None:
    """Warm up everything and say in one line what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--jobs', type=int, default=1, help='compile in so many processes')
    jobs = parser.parse_args().jobs
    start = time.monotonic()
    if jobs > 1:
        with ProcessPoolExecutor(jobs, mp_context=get_context('spawn')) as pool:
            warmed = [name for names in pool.map(warm_up, [(name,) for name in MODULES]) for name in names]
    else:
        warmed = warm_up()
    print(f'kernels of {len(warmed)} modules compiled or found in the cache, {time.monotonic() - start:.0f} s')


if __name__ == '__main__':
    main()
