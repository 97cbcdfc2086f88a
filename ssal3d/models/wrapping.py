"""Models inside the wrappers of distributed training."""

from typing import cast

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside a distributed wrapper, or the model itself."""
    return cast(nn.Module, model.module) if is_model_wrapper(model) else model
