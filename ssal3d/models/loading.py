"""Checkpoints of detectors: built for inference, checked, found, written."""

import copy
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from torch import nn

from ssal3d.devices import require_usable_gpu
from ssal3d.errors import UserError
from ssal3d.fileio import atomic_open
from ssal3d.models.fast_layers import use_fast_layers


def load_detector(config: Config, checkpoint: str | Path, device: str | None = None) -> nn.Module:
    """Build the model of a config and load a checkpoint strictly.

    Args:
        config: A config with ``model``.
        checkpoint: The checkpoint; read with ``weights_only`` through the allow-list of `ssal3d.compat`.
        device: Where the model goes; the best available device by default.

    Raises:
        UserError: If the checkpoint is missing or belongs to another model, or the device is a GPU that mmcv or spconv
            cannot use.
    """
    device = device or get_device()
    if torch.device(device).type == 'cuda':
        require_usable_gpu()
    require_checkpoint(checkpoint)
    init_default_scope(config.get('default_scope', 'mmdet3d'))
    model = MODELS.build(copy.deepcopy(config.model))  # a detector writes into what it is built from
    try:
        load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True, logger='silent')
    except RuntimeError as error:
        raise UserError(
            f'{checkpoint}: does not fit the model of the config ({str(error).splitlines()[-1].strip()}); use the '
            'config that it was trained with'
        ) from None
    use_fast_layers(model)
    return model.to(torch.device(device)).eval()


def require_checkpoint(path: str | Path) -> None:
    """Check that a file is there and can be read as a checkpoint.

    Raises:
        UserError: If it is missing, cut or something else.
    """
    if not Path(path).is_file():
        raise UserError(f'{path}: no such checkpoint; check the path')
    with open(path, 'rb') as file:
        start = file.read(2)
    # A zip archive of torch.save, whose directory is at its end, or a pickle of old versions.
    if not (_is_zip(path) if start == b'PK' else start.startswith(b'\x80')):
        raise UserError(
            f'{path}: not readable as a checkpoint: it is truncated, damaged or something else; copy it again'
        )


def _is_zip(path: str | Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # a directory that says it continues on another disk
        return False


def newest_checkpoint(folder: str | Path) -> Path | None:
    """Return the newest ``epoch_*.pth`` of a folder that can be read, or None.

    A file that a power failure truncated is skipped, so that a run continues from the one before.
    """
    return next(filter(is_readable, reversed(checkpoints(folder).values())), None)


def checkpoints(folder: str | Path) -> dict[int, Path]:
    """Return the checkpoints ``epoch_*.pth`` of a folder by the number of finished epochs, ascending."""
    numbers = {path: path.stem.removeprefix('epoch_') for path in Path(folder).glob('epoch_*.pth')}
    return dict(sorted((int(number), path) for path, number in numbers.items() if number.isdecimal()))


def is_readable(checkpoint: Path) -> bool:
    """Return whether a checkpoint can be loaded safely."""
    try:
        content: Any = torch.load(checkpoint, map_location='cpu', weights_only=True)
    except Exception:
        return False
    return isinstance(content, dict) and 'state_dict' in content


def write_weights(path: str | Path, state: Mapping[str, torch.Tensor], **meta: Any) -> None:
    """Write weights atomically as a checkpoint of a plain detector.

    Args:
        path: The checkpoint to write.
        state: The weights by name.
        **meta: Facts about them.

    Raises:
        UnwritableError: If the operating system refuses. PyTorch itself turns a full disk into a ``RuntimeError`` that
            names neither file nor reason, so it writes to memory here.
    """
    content = io.BytesIO()
    torch.save({'state_dict': state, 'meta': meta}, content)
    with atomic_open(path) as file:
        file.write(content.getbuffer())
