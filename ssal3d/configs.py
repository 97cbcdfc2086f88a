"""Where configs are, and how they are read.

A command takes the path of a config. Shipped configs are part of the package: where the working directory has no
``configs/active/cal_kitti.py``, that path means the shipped one. ``ssal3d::active/cal_kitti.py`` always does, for a
command and as ``_base_`` of another config. What follows from a config's settings is filled in: `ssal3d.resolving`.
"""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssal3d.errors import UserError, lacks_extra, raised_by
from ssal3d.plugins import import_custom
from ssal3d.resolving import resolve

if TYPE_CHECKING:
    from mmengine.config import Config

SHIPPED = Path(__file__).resolve().parent / '.mim' / 'configs'
_VARIABLES = 'SSAL3D_'
_SCOPE = 'ssal3d::'


def find_config(name: str | Path) -> Path:
    """Return the file that a command's config argument names.

    Args:
        name: A path, or ``ssal3d::`` and a path below the shipped configs.

    Raises:
        UserError: If there is no such file.
    """
    path, name = Path(name), str(name)
    if path.is_file():
        return path
    below = name.removeprefix(_SCOPE if name.startswith(_SCOPE) else 'configs/')
    if below != name and (SHIPPED / below).is_file():
        return SHIPPED / below
    close = get_close_matches(below, [str(found.relative_to(SHIPPED)) for found in SHIPPED.rglob('*.py')], n=1)
    hint = f"; did you mean '{_SCOPE}{close[0]}'?" if close else ''
    raise UserError(f'{name}: no such config; shipped ones are in {SHIPPED}{hint}')


def read_config(name: str | Path, overrides: Mapping[str, Any] | None = None, custom_imports: bool = True) -> 'Config':
    """Read a config of MMEngine's style and resolve it: the values are what a command works with.

    Where a sampler's settings are expected (``active_sampler``, ``sampler`` of a round), the name of a config stands
    for its ``active_sampler``.

    Args:
        name: See `find_config`.
        overrides: Values by dotted key.
        custom_imports: Whether to import the modules that the config lists in ``custom_imports``.

    Raises:
        UserError: If the file is missing or is not a config, or its settings lead to no value.
    """
    from mmengine.config import Config

    path = find_config(name)
    _let_bases_name_shipped_configs(Config)
    try:
        config = load_file(path)
        changes = dict(overrides or {})
        if isinstance(changes.get('active_sampler'), str):  # first, so that other changes are changes to it
            config['active_sampler'] = changes.pop('active_sampler')
        _read_samplers(config)
        config.merge_from_dict(changes)
        _read_samplers(config)
    except UserError:
        raise
    except Exception as error:  # a config is a program, in which anything can go wrong
        if lacks_extra(error):
            raise
        raise UserError(f'{name}: not readable as a config ({raised_by(error)})') from None
    if not config._imported_names:  # classes instead of names: MMEngine's new style, which has no bases to follow
        for key, value in resolve(config.to_dict()).items():
            config[key] = value
    if custom_imports:
        import_custom(config, path)
    return config


def require_parts(config: 'Config', name: str | Path, *keys: str) -> None:
    """Refuse a config that lacks what a command builds, e.g. a sampler's config where a training is expected.

    Args:
        config: As `read_config` returns it.
        name: As the user gave it.
        keys: Top-level keys that must be there.

    Raises:
        UserError: If one is missing or None.
    """
    missing = [key for key in keys if config.get(key) is None]
    if missing:
        raise UserError(
            f'{name}: has no {missing[0]}, expected the config of an experiment, a stage or a training of '
            'MMDetection3D; give another one, or inherit from one that has it'
        )


def load_file(path: str | Path) -> 'Config':
    """Read a config file as it stands there.

    MMEngine puts values of environment variables into the text of a config; a quote in the path of a data folder would
    end the string there.
    """
    from mmengine.config import Config

    given = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES) and "'" in value}
    os.environ.update({name: value.replace("'", r"\\'") for name, value in given.items()})
    try:
        return Config.fromfile(path, import_custom_modules=False)
    finally:
        os.environ.update(given)


def _read_samplers(config: 'Config') -> None:
    """Put the settings of samplers in place of the names of their configs."""
    loop = config.get('train_cfg') or {}
    places = [(config, 'active_sampler')]
    places += [(entry, 'sampler') for entry in (loop.get('initial', {}), *loop.get('rounds', ()))]
    for settings, key in places:
        name = settings.get(key)
        if isinstance(name, str):
            content = load_file(find_config(name))
            if 'active_sampler' not in content:
                raise UserError(f'{key}: {name} has no active_sampler; give a config like those in configs/active')
            settings[key] = content['active_sampler'].to_dict()


def _let_bases_name_shipped_configs(kind: type['Config']) -> None:
    """Let ``_base_`` begin with ``ssal3d::``; MMEngine knows the packages of OpenMMLab alone."""
    original = kind._get_cfg_path
    if hasattr(original, 'knows_ssal3d'):
        return

    def path_of_base(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(_SCOPE):
            return str(find_config(cfg_path)), None
        return original(cfg_path, filename)

    path_of_base.knows_ssal3d = True  # type: ignore[attr-defined]
    kind._get_cfg_path = staticmethod(path_of_base)
