"""What decides the predictions of a detector besides its weights: thresholds, suppression, and its input's pipeline."""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ssal3d.fileio import digest

# How files are reached, not what is in them: data may move; and the mode of a module, which is the same in every pass.
WITHOUT_EFFECT = frozenset(('backend_args', 'file_client_args', 'training'))


def settings_digest(network: nn.Module, pipeline: Any) -> str:
    """Return the SHA-256 of the settings that decide, besides the weights, what a detector predicts.

    They are read from the built objects, whoever built them: every ``test_cfg`` in the detector, the numbers of its box
    coders, of which CenterPoint's has a score threshold of its own, and the options of the transforms.

    Args:
        network: A detector.
        pipeline: What turns a frame into its input: a `Compose` or another transform; None if there is none.
    """
    parts = list(network.modules())
    configs = [getattr(part, 'test_cfg', None) for part in parts]
    coders = [getattr(part, 'bbox_coder', None) for part in parts]
    return digest(
        {
            'test_cfg': [_plain(config) for config in configs if config is not None],
            'bbox_coder': [_numbers(coder) for coder in coders if coder is not None],
            'pipeline': _plain(pipeline),
        }
    )


def _numbers(owner: Any) -> dict[str, Any]:
    """Return the attributes of an object that are numbers; CenterPoint's coder turns its lists into tensors in use."""
    return {name: _plain(value) for name, value in _public(owner).items() if isinstance(value, bool | int | float)}


def _plain(value: Any) -> Any:
    """Return a value as JSON, None for objects that are no options, e.g. what a transform keeps to read files."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [_plain(entry) for entry in (value if isinstance(value, Sequence) else sorted(value, key=str))]
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__qualname__
    return _options(value) if callable(value) else None


def _options(transform: Any) -> dict[str, Any]:
    """Return class and options of a transform, which it keeps as public attributes."""
    return {
        'type': type(transform).__name__,
        **{name: _plain(value) for name, value in _public(transform).items()},
    }


def _public(owner: Any) -> dict[str, Any]:
    """Return the public attributes of an object that can have an effect."""
    attributes = getattr(owner, '__dict__', {})
    return {
        name: value for name, value in attributes.items() if not name.startswith('_') and name not in WITHOUT_EFFECT
    }
