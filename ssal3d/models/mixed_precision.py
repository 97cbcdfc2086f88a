"""Mixed precision: the dense part of a detector computes in half precision, all else in single precision.

Backbone, neck and proposal head are where the time goes and where half precision does no harm. Coordinates of points
and boxes need single precision: at 70 m, float16 knows steps of 6 cm.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import autocast, nn

from ssal3d.errors import UserError, unknown_name
from ssal3d.models.wrapping import unwrapped

TYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}

_dense_type: ContextVar[torch.dtype | None] = ContextVar('dense_type', default=None)


@contextmanager
def dense_in(dtype: torch.dtype) -> Iterator[None]:
    """Let the dense parts of detectors compute in another type.

    Args:
        dtype: Half precision.

    >>> with dense_in(torch.bfloat16), dense_part(torch.device('cpu')):
    ...     torch.nn.functional.linear(torch.ones(1, 1), torch.ones(1, 1)).dtype
    torch.bfloat16
    """
    token = _dense_type.set(dtype)
    try:
        yield
    finally:
        _dense_type.reset(token)


@contextmanager
def dense_part(device: torch.device) -> Iterator[None]:
    """Mark a dense part of a detector: computed in the type of `dense_in`, if there is one.

    Args:
        device: Where it is computed.
    """
    dtype = _dense_type.get()
    with nullcontext() if dtype is None else autocast(device.type, dtype=dtype):
        yield


def fastest_type(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device computes with it, else float16 on a GPU.

    Args:
        device: Where the detector trains.

    Raises:
        UserError: If it is a CPU without instructions for bfloat16.
    """
    if device.type == 'cuda':
        major, _ = torch.cuda.get_device_capability(device)
        return torch.bfloat16 if major >= 8 else torch.float16  # older cards only emulate bfloat16
    if not has_fast_bfloat16():
        raise UserError(
            'mixed precision: this processor does not multiply bfloat16 (AVX512-BF16 or AMX), so it would be slower; '
            'leave --amp out'
        )
    return torch.bfloat16


def has_fast_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 natively."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@OPTIM_WRAPPERS.register_module()
class MixedPrecisionOptimWrapper(AmpOptimWrapper):
    """Trains detectors that mark their dense part in mixed precision, and any other wholly under autocast.

    Gradients are scaled for float16 only; bfloat16 has the range of single precision.

    Args:
        dtype: ``'bfloat16'``, ``'float16'``, or ``'auto'``, see `fastest_type`.
        loss_scale: As for `AmpOptimWrapper`: ``'dynamic'``, a number, or arguments of `torch.amp.GradScaler`.
        **kwargs: As for `OptimWrapper`.

    Raises:
        UserError: If there is no such type, or the processor lacks it.
    """

    def __init__(self, dtype: str = 'auto', loss_scale: Any = 'dynamic', **kwargs: Any) -> None:
        if dtype not in ('auto', *TYPES):
            raise unknown_name('dtype of MixedPrecisionOptimWrapper', dtype, ['auto', *TYPES])
        OptimWrapper.__init__(self, **kwargs)  # the parent's own insists on CUDA
        self.device = next(parameter.device for group in self.optimizer.param_groups for parameter in group['params'])
        self.cast_dtype = fastest_type(self.device) if dtype == 'auto' else TYPES[dtype]
        self._scale_update_param = float(loss_scale) if isinstance(loss_scale, (int, float)) else None
        settings: dict[str, Any] = dict(loss_scale) if isinstance(loss_scale, dict) else {}
        if self._scale_update_param is not None:
            settings['init_scale'] = self._scale_update_param
        settings['enabled'] = self.cast_dtype == torch.float16 and self.device.type == 'cuda'
        self.loss_scaler = torch.amp.GradScaler(self.device.type, **settings)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimiser and, if gradients are scaled, of the scaler."""
        state = super().state_dict()
        if not state['loss_scaler']:
            del state['loss_scaler']
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, also one of a run in another precision.

        Args:
            state_dict: What `state_dict` returned.
        """
        state = dict(state_dict)
        if not self.loss_scaler.is_enabled():
            state.pop('loss_scaler', None)
        super().load_state_dict(state)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Choose the precision of a training step's forward pass."""
        marked = any(getattr(part, 'marks_dense_part', False) for part in unwrapped(model).modules())
        precision = dense_in(self.cast_dtype) if marked else autocast(self.device.type, dtype=self.cast_dtype)
        with OptimWrapper.optim_context(self, model), precision:
            yield


def in_mixed_precision(optim_wrapper: Any) -> None:
    """Change the config of an optimiser wrapper to mixed precision, in place.

    Args:
        optim_wrapper: ``optim_wrapper`` of a config.

    >>> from mmengine.config import ConfigDict
    >>> wrapper = ConfigDict(type='OptimWrapper', optimizer=dict(type='Adam'))
    >>> in_mixed_precision(wrapper)
    >>> wrapper.type
    'MixedPrecisionOptimWrapper'
    """
    optim_wrapper.type = MixedPrecisionOptimWrapper.__name__
    optim_wrapper.setdefault('dtype', 'auto')
