"""Which device is used, and whether the installed mmcv and spconv can use the GPU that torch sees."""

import os
from functools import lru_cache
from importlib.util import find_spec

import torch

from ssal3d import mmcv_stand_in
from ssal3d.errors import UserError, one_line

NO_CUDA = 'not available'  # what mmcv calls the CUDA version of a build for the CPU
ON_THE_CPU = "set CUDA_VISIBLE_DEVICES='' to use the CPU"


def mmcv_cuda() -> str | None:
    """Return the CUDA version that mmcv's operators were compiled for; None if they only serve the CPU.

    Raises:
        ImportError: If mmcv is not installed.
    """
    if mmcv_stand_in.is_used():
        return None
    from mmcv.ops import get_compiling_cuda_version

    version = str(get_compiling_cuda_version())
    return None if version == NO_CUDA else version


def spconv_has_cuda() -> bool | None:
    """Return whether spconv was built with CUDA; None without spconv, where mmcv's own sparse convolutions serve."""
    if find_spec('spconv') is None:
        return None
    from spconv.cppconstants import CPU_ONLY_BUILD

    return not CPU_ONLY_BUILD


def gpu_problem() -> str | None:
    """Return why the GPU that torch sees cannot be used, with the remedy; None if it can, or if there is none."""
    if not torch.cuda.is_available():
        return None
    seen = f'torch sees the GPU {torch.cuda.get_device_name()!r}, but'
    if mmcv_cuda() is None:
        return (
            f'{seen} the installed mmcv has no CUDA operators; install mmcv==2.1.0 compiled with CUDA '
            f'(make setup OPS=compiled), or {ON_THE_CPU}'
        )
    if spconv_has_cuda() is False:
        return (
            f'{seen} the installed spconv is a build for the CPU; install the build for CUDA {torch.version.cuda} '
            f'(e.g. spconv-cu126==2.3.8) in its place, or {ON_THE_CPU}'
        )
    return _first_use()


def _first_use() -> str | None:
    """Return why one operator of mmcv does not run on this process's GPU: it may be compiled for other GPUs."""
    from mmcv.ops import points_in_boxes_all

    device = torch.device('cuda', int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count())
    try:
        inside = points_in_boxes_all(torch.zeros(1, 1, 3, device=device), torch.ones(1, 1, 7, device=device))
        inside.cpu()
    except RuntimeError as error:
        major, minor = torch.cuda.get_device_capability(device)
        return (
            f"mmcv's operators fail on the GPU {torch.cuda.get_device_name(device)!r}: {one_line(error)[:160]}; compile "
            f'mmcv with TORCH_CUDA_ARCH_LIST={major}.{minor}, or {ON_THE_CPU}'
        )
    return None


@lru_cache(maxsize=1)
def require_usable_gpu() -> None:
    """Check once per process that what is installed can use the GPU that mmengine will choose by itself.

    Raises:
        UserError: If torch sees a GPU that mmcv or spconv cannot use.
    """
    problem = gpu_problem()
    if problem:
        raise UserError(problem)
