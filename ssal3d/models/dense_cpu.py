"""Dense layers on the CPU in bfloat16, where the processor has it; a detector's parameters stay float32.

With bfloat16 the maps are stored channels last, which its convolutions want. With float32 they are not: torch's batch
normalisation sums that layout one by one, and the statistics of a mostly empty map lose 3 digits by it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ssal3d.errors import unknown_name
from ssal3d.models.mixed_precision import dense_part, has_fast_bfloat16

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


def cpu_dense_dtype(setting: str = 'auto') -> torch.dtype:
    """Return the type in which dense layers compute on the CPU.

    Args:
        setting: ``'float32'``, ``'bfloat16'``, or ``'auto'``: bfloat16 if the processor has instructions for it
            (AVX512-BF16 or AMX), which depends on nothing but the processor; elsewhere bfloat16 is slower.

    Raises:
        UserError: If the setting does not exist.
    """
    if setting == 'auto':
        return torch.bfloat16 if has_fast_bfloat16() else torch.float32
    if setting not in DTYPES:
        raise unknown_name('value of dense_cpu_dtype', setting, ['auto', *DTYPES])
    return DTYPES[setting]


def run_dense(layers: Callable[[Tensor], Any], inputs: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Run convolutional layers on a feature map; on other devices than the CPU, in the precision of training.

    Args:
        layers: Takes ``(B, C, H, W)``, returns one map or several.
        inputs: ``(B, C, H, W)`` feature map.
        dtype: See `cpu_dense_dtype`.

    Returns:
        The maps, in float32.
    """
    if inputs.device.type != 'cpu' or dtype == torch.float32:
        with dense_part(inputs.device):
            maps = _as_list(layers(inputs.contiguous()))
        return [found.float() for found in maps]
    with torch.autocast('cpu', dtype=dtype):
        outputs = _as_list(layers(inputs.contiguous(memory_format=torch.channels_last)))
    return [output.float() for output in outputs]


def _as_list(maps: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [maps] if isinstance(maps, Tensor) else list(maps)
