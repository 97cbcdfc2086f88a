"""Which keys a dictionary of a config may have, by the signatures of what it builds or is handed to."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from mmengine.registry import Registry

from ssal3d.registry import options_of

# Keys that registries, the runner or a hook's base take away before a class sees them.
TAKEN_AWAY = {
    'hooks': ('priority',),
    'param_scheduler': ('convert_to_iter_based', 'by_epoch', 'begin', 'end', 'last_step', 'verbose'),
    'optim_wrapper': (
        'constructor',
        'paramwise_cfg',
        'optimizer',
        'accumulative_counts',
        'clip_grad',
        'loss_scale',
        'dtype',
    ),
    'train_cfg': ('by_epoch',),
}
ALWAYS = ('type', '_scope_', 'init_cfg')
# Dictionaries that may hold any key, by the key that they stand at; the names that are usual in them.
USUAL = {
    'metainfo': ('classes', 'palette', 'categories'),
    'modality': ('use_lidar', 'use_camera'),
    'data_prefix': ('pts', 'img', 'sweeps'),
    'dist_cfg': ('backend', 'timeout', 'init_backend'),
    'default_hooks': (
        *('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint', 'visualization'),
        *('early_stopping', 'ema'),
    ),
}


@cache
def registered() -> dict[str, tuple[Callable[..., Any], ...]]:
    """Return everything that is registered, by its name without scope."""
    import mmdet.registry
    import mmdet3d.registry
    import mmengine.registry

    import ssal3d.register
    import ssal3d.registry

    found: dict[str, list[Callable[..., Any]]] = {}
    for module in (mmdet3d.registry, mmdet.registry, mmengine.registry, ssal3d.registry):
        for registry in vars(module).values():
            if isinstance(registry, Registry):
                with suppress(ImportError):  # MMDetection3D lists a module that it does not have
                    registry.import_from_location()
                for name, kind in registry.module_dict.items():
                    if kind not in found.setdefault(name, []):
                        found[name].append(kind)
    return {name: tuple(kinds) for name, kinds in found.items()}


def kinds_of(name: Any) -> tuple[Callable[..., Any], ...]:
    """Return what a ``type`` may mean; empty if nothing of that name is registered."""
    if not isinstance(name, str):
        return (name,) if callable(name) else ()
    return registered().get(name.rpartition('.')[2], ())


def keys_of(kind: Callable[..., Any]) -> set[str] | None:
    """Return the keys that a registered class or function takes; None if it takes any."""
    try:
        options = options_of(kind)
    except (TypeError, ValueError):  # built-in classes have no signature
        return None
    handed_on = getattr(kind, 'hands_on', None)  # the dataclass or function that gets its **kwargs
    if handed_on is not None:
        return {*options, *names_of(handed_on)}
    return None if _is_open(kind) else set(options)


def usual_keys(part: Mapping[str, Any], path: str) -> set[str]:
    """Return the usual keys of a dictionary that may hold any key: what nearly is one of them is mistyped."""
    found = set(USUAL.get(path.rpartition('.')[2], ()))
    for kind in kinds_of(part['type']) if 'type' in part else ():
        with suppress(TypeError, ValueError):
            found.update(options_of(kind), ALWAYS)
    return found


def names_of(kind: Callable[..., Any]) -> set[str]:
    """Return the fields of a dataclass or the parameters of a function or class."""
    if dataclasses.is_dataclass(kind):
        return {field.name for field in dataclasses.fields(kind)}
    return set(options_of(kind))


def _is_open(kind: Callable[..., Any]) -> bool:
    """Whether ``**kwargs`` of a class reach no signature."""
    chain: Iterable[Any] = (
        (vars(base)['__init__'] for base in kind.__mro__[:-1] if '__init__' in vars(base))
        if inspect.isclass(kind)
        else (kind,)
    )
    for function in chain:
        parameters = inspect.signature(function).parameters.values()
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            return False
    return True


def handed_to(parent: Mapping[str, Any], path: str) -> set[str] | None:
    """Return the keys of a dictionary without ``type``, by its place in the config; None if any may stand there."""
    key, kind = path.rpartition('.')[2], str(parent.get('type', ''))
    for known, owners, keys in _hand_overs():
        if key == known and (not owners or kind in owners or (path.count('.') == 0 and path in owners)):
            return keys
    return None


@cache
def _hand_overs() -> tuple[tuple[str, tuple[str, ...], set[str]], ...]:
    from mmdet3d.models.data_preprocessors.voxelize import VoxelizationByGridShape
    from torch.nn.utils import clip_grad_norm_
    from torch.utils.data import DataLoader

    from ssal3d.active.query.settings import QuerySettings
    from ssal3d.cpsp.settings import CPSPSettings
    from ssal3d.predictions.pool_inference import predict_pool
    from ssal3d.semi.ema import MeanTeacherHook
    from ssal3d.semi.hssda.hook import HSSDAMiningHook

    stages = tuple(ssal3d_stages())
    loader = {*names_of(DataLoader), 'dataset', 'num_batch_per_epoch', 'disable_subprocess_warning'}
    settings = names_of(predict_pool) - {'model', 'view', 'out', 'fields', 'extraction', 'metadata', 'description'}
    return (
        ('voxel_layer', (), names_of(VoxelizationByGridShape)),
        ('bank', stages, {*names_of(CPSPSettings), 'profile'}),
        ('mining', stages, names_of(HSSDAMiningHook) - {'store', 'bank', 'labelled', 'frames', 'prediction'}),
        ('ema', stages, names_of(MeanTeacherHook)),
        ('query', ('ActiveLearningLoop', 'query', ''), names_of(QuerySettings)),
        ('randomness', ('randomness',), {'seed', 'diff_rank_seed', 'deterministic'}),
        ('env_cfg', ('env_cfg',), {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}),
        ('mp_cfg', (), {'mp_start_method', 'opencv_num_threads'}),
        ('custom_imports', ('custom_imports',), {'imports', 'allow_failed_imports'}),
        ('clip_grad', (), {*names_of(clip_grad_norm_), 'type', 'clip_value'} - {'parameters'}),
        ('auto_scale_lr', ('auto_scale_lr',), {'enable', 'base_batch_size'}),
        ('pool_dataloader', ('pool_dataloader',), settings),
        *((name, (name,), loader) for name in ('train_dataloader', 'val_dataloader', 'test_dataloader')),
    )


def ssal3d_stages() -> Iterator[str]:
    """Yield the names of the registered stages."""
    from ssal3d.registry import STAGES

    STAGES.import_from_location()
    yield from STAGES.module_dict


@cache
def mentions(kind: type, key: str) -> bool:
    """Whether the code of a class or its bases names a key, which it may take from a part's config."""
    return any(re.search(rf'(\.|["\']){re.escape(key)}\b', text) for text in _sources(kind))


READS = re.compile(r"""cfg(?:\.get\(\s*|\[)["'](\w+)["']|cfg\.(\w+)|cfg,\s*["'](\w+)["']|["'](\w+)["'] in \w*cfg""")


@cache
def settings_read_by(kind: type) -> frozenset[str]:
    """Return the names of settings (``train_cfg``, ``test_cfg``) that the code of a class and its bases reads."""
    return frozenset(name for text in _sources(kind) for names in READS.findall(text) for name in names if name)


@cache
def _sources(kind: type) -> tuple[str, ...]:
    keys = []
    for base in kind.__mro__:
        if base.__module__.startswith(('mmdet', 'ssal3d', 'mmcv', 'mmengine')):
            with suppress(OSError, TypeError):
                keys.append(inspect.getsource(base))
    return tuple(keys)
