"""The registries of what is ours alone; everything else registers in MMDetection3D's own registries."""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from mmengine.registry import Registry

from ssal3d.errors import UserError, unknown_name
from ssal3d.plugins import load_plugins
from ssal3d.typed import check_fields


def build_checked(cfg: Mapping[str, Any], registry: Registry, default_args: Mapping[str, Any] | None = None) -> Any:
    """Build a registered class; a misspelt type or option is an error that names the nearest one.

    MMEngine's own `build` is not used because its look-up imports torch, which takes longer than a whole query.

    Args:
        cfg: ``dict(type=<registered name or class>, **options)``.
        registry: Where the name is registered.
        default_args: Options used where ``cfg`` has none.

    Raises:
        UserError: If ``cfg`` has no type, the type is not registered, or an option does not exist or has another type
            than its annotation says.
    """
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise UserError(f'{registry.name}: found {cfg!r}, expected dict(type=..., ...)')
    options = {**(default_args or {}), **cfg}
    kind = options.pop('type')
    if isinstance(kind, str):
        if not is_known(options | {'type': kind}, registry):
            raise unknown_name(registry.name, kind, sorted(registry.module_dict))
        kind = registry.module_dict[kind]
    if not callable(kind):
        raise UserError(f'{registry.name}: found the type {kind!r}, expected a name or a class')
    accepted = options_of(kind)
    for name in options:
        if name not in accepted:
            error = unknown_name(f'option of {kind.__name__}', name, list(accepted))
            raise UserError(f'{error}; to drop what a config inherits write dict(_delete_=True, type=...)')
    check_fields(kind, options, kind.__name__)
    return kind(**options)


def is_known(cfg: Mapping[str, Any], registry: Registry) -> bool:
    """Whether a config's type is registered, by this package or a plug-in; True for a config without one.

    Something other than a dictionary passes here, too; `build_checked` refuses it.

    Args:
        cfg: ``dict(type=<registered name or class>, **options)``.
        registry: Where the name is registered.
    """
    kind = cfg.get('type') if isinstance(cfg, Mapping) else None
    if not isinstance(kind, str):
        return True
    for location in registry._locations:
        import_module(location)
    if kind not in registry.module_dict:
        load_plugins()
    return kind in registry.module_dict


def options_of(kind: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the keyword options of a class (or function), those that ``**kwargs`` hands to its bases included."""
    chain = (
        [vars(base)['__init__'] for base in kind.__mro__[:-1] if '__init__' in vars(base)]
        if inspect.isclass(kind)
        else [kind]
    )
    found: dict[str, inspect.Parameter] = {}
    for function in chain:
        parameters = inspect.signature(function).parameters
        for name, parameter in parameters.items():
            if name != 'self' and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(name, parameter)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return found


ACTIVE_SAMPLERS = Registry('active sampler', build_checked, scope='ssal3d', locations=['ssal3d.active'])
BUDGET_UNITS = Registry('unit of a budget', build_checked, scope='ssal3d', locations=['ssal3d.active.query.units'])
ANNOTATORS = Registry(
    'annotator', build_checked, scope='ssal3d', locations=['ssal3d.loop.annotators', 'ssal3d.loop.file_annotator']
)
STAGES = Registry(
    'stage',
    build_checked,
    scope='ssal3d',
    locations=[
        'ssal3d.stages.supervised',
        'ssal3d.stages.loss_net',
        'ssal3d.cpsp.stage',
        'ssal3d.semi.stage',
        'ssal3d.semi.nal.stage',
        'ssal3d.semi.hssda.stage',
    ],
)
ANNOTATION_FORMATS = Registry(
    'annotation format', build_checked, scope='ssal3d', locations=['ssal3d.annotation.formats']
)
