"""CUDA's rules of autocast for machines without CUDA, by function name; a test compares them with torch's own rules.

torch applies these rules to tensors on CUDA devices only. Here they are applied to any tensor by a mode that sees every
function call, so that a model computes in real half precision on the CPU or on the imagined GPU.
"""

import contextlib

import torch
from torch.overrides import TorchFunctionMode

from tests.devices.imagined import mapped, tensors_in

HALF = set(
    [
        'conv1d',
        'conv2d',
        'conv3d',
        'conv_transpose1d',
        'conv_transpose2d',
        'conv_transpose3d',
        'addmm',
        'addmv',
        'addr',
        'matmul',
        '__matmul__',
        'einsum',
        'mm',
        'mv',
        'linear',
        'addbmm',
        'baddbmm',
        'bmm',
        'prelu',
        'scaled_dot_product_attention',
    ]
)
SINGLE = set(
    [
        'cross_entropy',
        'square',
        'interpolate',
        'vector_norm',
        'acos',
        'asin',
        'cosh',
        'erfinv',
        'exp',
        'expm1',
        'log',
        'log10',
        'log2',
        'log1p',
        'reciprocal',
        'rsqrt',
        'sinh',
        'tan',
        'pow',
        '__pow__',
        '__rpow__',
        'softplus',
        'layer_norm',
        'group_norm',
        'cosine_similarity',
        'nll_loss',
        'kl_div',
        'l1_loss',
        'smooth_l1_loss',
        'huber_loss',
        'mse_loss',
        'binary_cross_entropy_with_logits',
        'dist',
        'cdist',
        'renorm',
        'logsumexp',
        'prod',
        'softmax',
        'log_softmax',
        'cumprod',
        'cumsum',
        'norm',
        'sum',
    ]
)
WIDEST = set(
    [
        'addcdiv',
        'addcmul',
        'atan2',
        'bilinear',
        'cross',
        'dot',
        'vdot',
        'grid_sample',
        'index_put',
        'tensordot',
        'scatter_add',
        'cat',
        'stack',
    ]
)
BANNED = {'binary_cross_entropy'}


class CUDAAutocast(TorchFunctionMode):
    """Applies the rules to every function that is called inside.

    Args:
        dtype: Half precision.
    """

    def __init__(self, dtype=torch.float16):
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(func, '__name__', '')
        if name in BANNED:
            raise RuntimeError(f'torch.nn.functional.{name} is unsafe to autocast')
        to = self.dtype if name in HALF else torch.float32 if name in SINGLE else None
        if name in WIDEST:
            found = {value.dtype for value in _floating((args, kwargs))}
            to = torch.float32 if len(found) > 1 else None
        if to is not None:
            args, kwargs = mapped(lambda value: _cast(value, to), (args, kwargs))
        return func(*args, **kwargs)


def _floating(values):
    return [tensor for tensor in tensors_in(values) if tensor.is_floating_point()]


def _cast(value, dtype):
    wanted = isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype not in (dtype, torch.float64)
    return value.to(dtype) if wanted else value


@contextlib.contextmanager
def imagined_autocast(device_type, dtype=torch.float16, enabled=True):
    """Stands for ``torch.autocast`` on the imagined GPU; the modes nest like it does."""
    with CUDAAutocast(dtype) if enabled else contextlib.nullcontext():
        yield
