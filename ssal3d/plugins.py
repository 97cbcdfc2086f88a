"""Plug-ins: modules of an installed package, or modules that a config names, which register classes of their own."""

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from ssal3d.errors import UserError, lacks_extra, raised_by

GROUP = 'ssal3d.plugins'


@lru_cache(maxsize=1)
def load_plugins() -> tuple[str, ...]:
    """Import what installed packages offer under the entry-point group ``ssal3d.plugins``; once per process.

    Returns:
        Names of the entry points.

    Raises:
        UserError: If one of them cannot be imported; names its package.
    """
    plugins = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    for point in plugins:
        try:
            point.load()
        except Exception as error:
            if lacks_extra(error):
                raise
            raise _broken(point, error) from error
    return tuple(point.name for point in plugins)


def _broken(point: Any, error: Exception) -> UserError:
    package = point.dist.name if point.dist else 'an installed package'
    return UserError(
        f"plug-in '{point.name}' of {package}: {point.value} cannot be imported ({raised_by(error)}); "
        'correct or uninstall it'
    )


def import_custom(config: Mapping[str, Any], config_path: Path | None = None, without: str | None = None) -> None:
    """Import the modules that a config lists in ``custom_imports``.

    They are looked for where Python looks, then beside the config and in the working directory.

    Args:
        config: A config.
        config_path: Its file.
        without: A package whose modules are left out.

    Raises:
        UserError: If a module does not exist or fails, and the config does not allow that.
    """
    imports = config.get('custom_imports') or {}
    names = imports.get('imports') or []
    for folder in (config_path.resolve().parent if config_path else None, Path.cwd()):
        if folder is not None and str(folder) not in sys.path and names:
            sys.path.append(str(folder))
    for name in [names] if isinstance(names, str) else names:
        if without is not None and name.partition('.')[0] == without:
            continue
        try:
            import_module(name)
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, ImportError) and imports.get('allow_failed_imports'):
                continue
            if lacks_extra(error):
                raise
            start = f"{config_path or 'config'}: custom_imports: '{name}' cannot be imported"
            if isinstance(error, ModuleNotFoundError) and error.name in (name, name.partition('.')[0]):
                places = 'it is looked for on PYTHONPATH, beside the config and in the working directory'
                raise UserError(f'{start} ({error}); {places}') from None
            raise UserError(f'{start} ({raised_by(error)}); correct the module') from None  # it is there, and fails
