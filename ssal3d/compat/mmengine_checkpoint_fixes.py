"""Defects of MMEngine in loading, writing and keeping checkpoints."""

import re
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssal3d.compat.fix import Fix
from ssal3d.errors import UserError, one_line
from ssal3d.fileio import atomic_open
from ssal3d.plain_pickle import load_plain

_NAMED = re.compile(r'\bGLOBAL (\S+)')  # in PyTorch's refusal
_STATISTICS = ('min', 'max', 'current', 'mean')


def _checkpoints_are_refused() -> bool:
    from mmengine.logging import HistoryBuffer

    safe_globals = torch.serialization.get_safe_globals() if hasattr(torch.serialization, 'get_safe_globals') else []
    return HistoryBuffer not in safe_globals


def _load_checkpoints_safely() -> None:
    """Allow the classes of MMEngine's own checkpoints, no others, and never ask torch for an unsafe load."""
    from mmengine.runner import checkpoint

    torch.serialization.add_safe_globals(checkpoint_globals())
    checkpoint.torch = _WeightsOnlyTorch()
    checkpoint.load_url = _weights_only(checkpoint.load_url)


def checkpoint_globals() -> list[Any]:
    """Return what a checkpoint of MMEngine refers to beyond tensors: its log history, which holds NumPy arrays.

    Pickled NumPy arrays name `numpy.core` or `numpy._core`, depending on the NumPy that wrote them; both are listed.
    """
    from mmengine.logging import HistoryBuffer

    multiarray = np.core.multiarray
    names = [
        (getattr(multiarray, name), f'{module}.multiarray.{name}')
        for name in ('_reconstruct', 'scalar')
        for module in ('numpy.core', 'numpy._core')
    ]
    number_types = [type(np.dtype(name)) for name in ('float64', 'int64')]
    return [HistoryBuffer, np.ndarray, np.dtype, *number_types, *names, (_statistic, 'builtins.getattr')]


def _statistic(owner: Any, name: str) -> Callable:
    """Stand in for `getattr`, by which a pickled HistoryBuffer names its statistics; anything else is refused."""
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise TypeError(f'a checkpoint may not refer to {name!r} of {owner!r}')
    return getattr(HistoryBuffer, name)


class _WeightsOnlyTorch:
    """The torch module, with a `load` that asks for safe loading in releases where that is not the default."""

    @staticmethod
    def load(file: Any, *args: Any, **kwargs: Any) -> Any:
        """Load plain data; of a damaged file, PyTorch raises nearly anything."""
        try:
            return torch.load(file, *args, **{'weights_only': True, **kwargs})
        except Exception as error:
            name = getattr(file, 'name', None) or (file if isinstance(file, str | Path) else 'the checkpoint')
            raise UserError(
                f'{name}: not readable as a checkpoint: it is damaged or holds more than weights ({_reason(error)}); copy '
                'it again, from a source that you trust'
            ) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _reason(error: Exception) -> str:
    """Return why a checkpoint does not load, without PyTorch's advice to load it unsafely."""
    if not str(error).startswith('Weights only load failed'):
        return one_line(error)
    named = _NAMED.search(str(error))
    return f'it names {named[1]}' if named else 'PyTorch loads no such data'


def _weights_only(load_url: Callable) -> Callable:
    return wraps(load_url)(partial(load_url, weights_only=True))


def _pickles_run_code() -> bool:
    from mmengine.fileio.handlers.pickle_handler import PickleHandler

    return 'pickle' in PickleHandler.load_from_fileobj.__code__.co_names


def _load_plain_pickles() -> None:
    """Refuse code in annotation files and object databases, which MMDetection3D reads with `mmengine.load`."""
    from mmengine.fileio.handlers.pickle_handler import PickleHandler

    def load_from_fileobj(self: Any, file: Any, **kwargs: Any) -> Any:
        try:
            return load_plain(file)
        except Exception as error:  # a damaged pickle can raise nearly anything
            name = getattr(file, 'name', 'a pickle')
            raise UserError(f'{name}: not readable as plain data ({one_line(error)}); convert the data again') from None

    PickleHandler.load_from_fileobj = load_from_fileobj


def _files_are_written_in_place() -> bool:
    from mmengine.fileio import LocalBackend

    return 'open' in LocalBackend.put.__code__.co_names


def _write_files_atomically() -> None:
    from mmengine.fileio import LocalBackend
    from mmengine.hooks import checkpoint_hook

    def put(self: Any, obj: bytes, filepath: str | Path) -> None:
        with atomic_open(filepath, 'wb') as file:
            file.write(obj)

    def put_text(self: Any, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        with atomic_open(filepath, 'wb') as file:
            file.write(obj.encode(encoding))

    LocalBackend.put, LocalBackend.put_text = put, put_text
    checkpoint_hook.open = atomic_open  # its only use of open() writes the file last_checkpoint


def _old_checkpoint_goes_first() -> bool:
    from mmengine.hooks import CheckpointHook

    return 'max_keep_ckpts' in CheckpointHook._save_checkpoint_with_step.__code__.co_names


def _remove_old_checkpoint_last() -> None:
    from mmengine.hooks import CheckpointHook

    save = CheckpointHook._save_checkpoint_with_step

    @wraps(save)
    def save_then_remove(self: Any, runner: Any, step: int, meta: dict) -> None:
        limit, outdated = self.max_keep_ckpts, []
        if limit > 0 and step not in list(self.keep_ckpt_ids)[-1:]:
            while len(self.keep_ckpt_ids) >= limit:
                outdated.append(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.max_keep_ckpts = -1  # no removal inside
        try:
            save(self, runner, step, meta)
        finally:
            self.max_keep_ckpts = limit
        for old in outdated:
            _remove_checkpoint(self, old)

    CheckpointHook._save_checkpoint_with_step = save_then_remove


def _remove_checkpoint(hook: Any, step: int) -> None:
    from mmengine.dist import is_main_process

    path = hook.file_backend.join_path(hook.out_dir, hook.filename_tmpl.format(step))
    if is_main_process() and hook.file_backend.isfile(path):
        hook.file_backend.remove(path)
    elif is_main_process() and hook.file_backend.isdir(path):  # DeepSpeed writes folders
        hook.file_backend.rmtree(path)


FIXES = (
    Fix(
        name='safe-checkpoints',
        problem='With torch 2.6 and later MMEngine cannot load its own checkpoints; from the web it loads any pickle.',
        link='https://github.com/open-mmlab/mmengine/issues/1655',
        needs=('mmengine',),
        is_needed=_checkpoints_are_refused,
        apply=_load_checkpoints_safely,
    ),
    Fix(
        name='safe-pickles',
        problem='Annotation files and databases of objects are unpickled: such a file runs any code that it names.',
        link='https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/fileio/handlers/pickle_handler.py#L12',
        needs=('mmengine',),
        is_needed=_pickles_run_code,
        apply=_load_plain_pickles,
    ),
    Fix(
        name='atomic-files',
        problem='Checkpoints and last_checkpoint are written in place: a killed run leaves a file that does not load.',
        link='https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/fileio/backends/local_backend.py#L77',
        needs=('mmengine',),
        is_needed=_files_are_written_in_place,
        apply=_write_files_atomically,
    ),
    Fix(
        name='keep-last-checkpoint',
        problem='With max_keep_ckpts the oldest checkpoint is removed before the new one is written.',
        link='https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/hooks/checkpoint_hook.py#L412',
        needs=('mmengine',),
        is_needed=_old_checkpoint_goes_first,
        apply=_remove_old_checkpoint_last,
    ),
)
