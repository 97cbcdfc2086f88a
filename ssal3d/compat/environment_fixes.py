"""Defects of the packages around MMDetection3D: NumPy's removed names, setuptools' removed module, open3d."""

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import numpy as np

from ssal3d.compat.fix import Fix, replace_everywhere


def _numpy_lacks_long() -> bool:
    return 'long' not in vars(np)  # asking with hasattr warns


def _add_numpy_long() -> None:
    setattr(np, 'long', np.int_)  # noqa: B010 - typed NumPy 2 knows the name, typed NumPy 1 does not


def _pkg_resources_is_gone() -> bool:
    return importlib.util.find_spec('pkg_resources') is None


def _look_packages_up_with_importlib() -> None:
    from mmengine.utils import package_utils

    replace_everywhere(package_utils.is_installed, is_installed)
    replace_everywhere(package_utils.get_installed_path, get_installed_path)


def is_installed(package: str) -> bool:
    """Return whether a distribution or a module of this name is installed (replaces mmengine's function)."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def get_installed_path(package: str) -> str:
    """Return the folder of an installed package (replaces mmengine's function).

    Args:
        package: Name of a distribution or of a module.

    Raises:
        ModuleNotFoundError: If there is no such package.
    """
    modules = [package]
    try:
        listed = importlib.metadata.distribution(package).read_text('top_level.txt') or ''
        modules += listed.split()
    except importlib.metadata.PackageNotFoundError:
        pass
    for module in modules:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            return str(Path(spec.origin).parent)
    raise ModuleNotFoundError(f'{package} is not installed', name=package)


def _open3d_breaks_imports() -> bool:
    if 'open3d' in sys.modules:
        return False
    try:
        import open3d  # noqa: F401
    except ImportError:
        return False  # MMDetection3D expects this one
    except Exception:  # a shared library is missing: OSError, and whatever else its loader raises
        return True
    return False


def _hide_open3d() -> None:
    sys.modules['open3d'] = None  # type: ignore[assignment] # makes `import open3d` an ImportError


FIXES = (
    Fix(
        name='numpy-long',
        problem='DataBaseSampler uses np.long, which NumPy 1.24 to 1.26 do not have.',
        link='https://github.com/open-mmlab/mmdetection3d/issues/2821',
        needs=('mmdet3d',),
        is_needed=_numpy_lacks_long,
        apply=_add_numpy_long,
    ),
    Fix(
        name='pkg-resources',
        problem="_base_ = 'mmdet3d::...' imports pkg_resources, which setuptools 81 and later do not have.",
        link='https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/utils/package_utils.py',
        needs=('mmengine',),
        is_needed=_pkg_resources_is_gone,
        apply=_look_packages_up_with_importlib,
    ),
    Fix(
        name='broken-open3d',
        problem='An open3d without its system libraries raises OSError, and MMDetection3D only expects ImportError.',
        link='https://github.com/open-mmlab/OpenPCDet/issues/929',
        needs=('open3d',),
        is_needed=_open3d_breaks_imports,
        apply=_hide_open3d,
    ),
)
