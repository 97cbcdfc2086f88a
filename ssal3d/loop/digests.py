"""What a step of an experiment reads, without paths: two steps that read the same leave the same results."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ssal3d.fileio import digest, file_digest

# What mmengine's Runner trains and measures with; anything else in a config (log, display, launcher) changes no result.
TRAINING_KEYS = (
    'model',
    'train_dataloader',
    'val_dataloader',
    'train_cfg',
    'val_cfg',
    'optim_wrapper',
    'param_scheduler',
    'val_evaluator',
    'custom_hooks',
    'randomness',
    'auto_scale_lr',
)
# Keys at any depth that change how fast a step runs, not what it gives.
WITHOUT_EFFECT = frozenset(('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'data_root'))


def training_content(config: Config, folders: Mapping[Path, str]) -> dict[str, Any]:
    """Return what a training run reads of its config.

    Args:
        config: The complete config of the run.
        folders: Names for the folders that may appear in it, e.g. that of the stage.
    """
    content = {key: neutral(config[key], folders) for key in TRAINING_KEYS if config.get(key) is not None}
    if config.get('total_batch_size') is not None:  # a run may go on with another number of processes
        content['train_dataloader']['batch_size'] = config.total_batch_size
    return content


def neutral(value: Any, folders: Mapping[Path, str], root: Path | None = None) -> Any:
    """Return config content as JSON without paths.

    A file becomes its SHA-256, a path inside one of the folders the folder's name with the rest of the path; data
    roots, and what only changes the speed, are left out. Thus data may move.

    Args:
        value: Anything that a config holds.
        folders: Names of folders.
        root: Data root that relative file names belong to.

    >>> neutral({'batch_size': 2, 'num_workers': 4, 'bank': '/run/normal/bank'}, {Path('/run/normal'): '<stage>'})
    {'batch_size': 2, 'bank': '<stage>/bank'}
    """
    if isinstance(value, Mapping):
        root = Path(value['data_root']) if value.get('data_root') else root
        return {str(key): neutral(entry, folders, root) for key, entry in value.items() if key not in WITHOUT_EFFECT}
    if isinstance(value, str | Path):
        return _neutral_text(str(value), folders, root)
    if isinstance(value, Sequence | set | frozenset):
        return [neutral(entry, folders, root) for entry in (sorted(value) if isinstance(value, set) else value)]
    if value is None or isinstance(value, bool | int | float):
        return value if value == value and value not in (float('inf'), -float('inf')) else str(value)
    return getattr(value, '__qualname__', None) or str(value)


def _neutral_text(text: str, folders: Mapping[Path, str], root: Path | None) -> str:
    for folder, name in folders.items():
        if Path(text) == folder or folder in Path(text).parents:
            return f'{name}/{Path(text).relative_to(folder)}'.removesuffix('/.')
    for path in (Path(text), *([root / text] if root else [])):
        if ('/' in text or '.' in text) and path.is_file():
            return f'sha256:{file_digest(path)}'
    return text


def own_code(config: Config) -> dict[str, str]:
    """Return a digest of each of the user's modules that a config imports, by its name.

    A package counts with all of its Python files; modules of ssal3d are told by its version.

    Args:
        config: Config whose ``custom_imports`` are looked at; they are imported already.
    """
    names = config.get('custom_imports', {}).get('imports', ())
    found = {}
    for name in [names] if isinstance(names, str) else names:
        module = sys.modules.get(name)
        path = Path(getattr(module, '__file__', None) or '')
        if name.partition('.')[0] != 'ssal3d' and path.is_file():
            paths = sorted(path.parent.rglob('*.py')) if hasattr(module, '__path__') else [path]
            found[name] = digest([file_digest(entry) for entry in paths])
    return found


def differences(old: Any, new: Any, key: str = '') -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted keys in which two contents differ, with both values; None stands for a key that is not there.

    >>> list(differences({'a': {'b': 1}, 'c': [1, 2]}, {'a': {'b': 2}, 'c': [1, 2], 'd': 0}))
    [('a.b', 1, 2), ('d', None, 0)]
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys((*old, *new)):
            yield from differences(old.get(name), new.get(name), f'{key}.{name}' if key else str(name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new)):
            yield from differences(before, after, f'{key}.{index}')
    elif old != new:
        yield key, old, new
