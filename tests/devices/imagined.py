"""A GPU for machines without one: tensors hold real values, but say that they live on another device.

Every operator passes through `ImaginedGPU`, which refuses what CUDA refuses (operands on two devices, a CPU kernel on a
tensor of the device) and counts kernels and host synchronisations. Values are computed by the CPU's kernels, so results
can be compared. Autograd works, because torch runs the backward pass of the device ``meta`` in the calling thread.

What it cannot show: timing, races, the order of atomic additions, and branches on ``tensor.is_cuda``.
"""

import collections
import contextlib
import traceback
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device('meta')
PACKAGE = str(Path(__file__).parents[2] / 'ssal3d')

# Operators that start no kernel: they only make another view, or memory without contents.
FREE = set(
    [
        'detach',
        'view',
        '_unsafe_view',
        't',
        'transpose',
        'permute',
        'slice',
        'select',
        'unsqueeze',
        'squeeze',
        'expand',
        'alias',
        'as_strided',
        'unbind',
        'split',
        'split_with_sizes',
        'empty',
        'empty_like',
        'new_empty',
        'new_empty_strided',
        'diagonal',
        'lift_fresh',
        'unfold',
        'empty_strided',
        'is_same_size',
        '_reshape_alias',
        'sym_size',
    ]
)
# Operators whose result the host must know before it can go on.
WAITING = set(
    [
        '_local_scalar_dense',
        'nonzero',
        'masked_select',
        '_unique2',
        'unique_dim',
        'unique_consecutive',
        'equal',
        'bincount',
        'repeat_interleave',
        'is_nonzero',
    ]
)
INDEXING = set(['index', 'index_put', 'index_put_', '_index_put_impl_', '_unsafe_index'])


class DeviceError(RuntimeError):
    """What CUDA would refuse as well."""


class OnGPU(torch.Tensor):
    """A tensor of the imagined GPU around the CPU tensor with its values."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values):
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            layout=values.layout,
            device=DEVICE,
        )
        wrapper.values_on_cpu = values
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise DeviceError(f'{func} on a tensor of the imagined GPU, which is switched off')

    def __repr__(self):
        return f'OnGPU({self.values_on_cpu})'

    def __getitem__(self, index):
        return super().__getitem__(_indices(index))

    def __setitem__(self, index, value):
        super().__setitem__(_indices(index), value)

    def tolist(self):
        return self.cpu().tolist()

    def numpy(self, **kwargs):
        raise TypeError("can't convert a tensor of the GPU to numpy; use Tensor.cpu() first")

    __array__ = numpy

    def get_device(self):
        return 0

    def new_tensor(self, data, dtype=None, **kwargs):
        return torch.tensor(data, dtype=dtype or self.dtype, device=DEVICE)


def _indices(index):
    """Lists among indices as tensors of the device: torch would make them in C++, where ``meta`` leaves values out."""
    if isinstance(index, tuple) or (isinstance(index, list) and not all(isinstance(part, int) for part in index)):
        return tuple(map(_indices, index))
    return torch.tensor(index, device=DEVICE) if isinstance(index, (list, np.ndarray)) else index


def off(tensor):
    """The CPU tensor with the values of a tensor of the device; anything else as it is."""
    return tensor.values_on_cpu if isinstance(tensor, OnGPU) else tensor


def on(tensor):
    """A tensor of the device with the values of a CPU tensor; anything else as it is."""
    return OnGPU(tensor) if isinstance(tensor, torch.Tensor) and not isinstance(tensor, OnGPU) else tensor


def mapped(function, value):
    """A function of every value in nested lists, tuples and dicts: torch's own walk takes most of a step's time."""
    if isinstance(value, dict):
        return {key: mapped(function, inner) for key, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)([mapped(function, inner) for inner in value])
    if isinstance(value, tuple):  # a named one
        return type(value)(*[mapped(function, inner) for inner in value])
    return function(value)


def tensors_in(value):
    """The tensors in nested lists, tuples and dicts."""
    found = []
    mapped(lambda leaf: found.append(leaf) if isinstance(leaf, torch.Tensor) else None, value)
    return found


class ImaginedGPU(TorchDispatchMode):
    """The device, while it is switched on with ``with``.

    Attributes:
        kernels: Number of kernels by the line of ours that started them (``'upstream'``: none of ours).
        waits: Number of host synchronisations by kind and line.
        numbering: Random order of rows of strided convolutions; not torch's own, from which models draw.
    """

    def __init__(self):
        super().__init__()
        self.kernels, self.waits = collections.Counter(), collections.Counter()
        self.numbering = torch.Generator().manual_seed(0)
        self._patches = contextlib.ExitStack()

    def __enter__(self):
        from tests.devices.kernels import patches

        for patch in (*_constructors(), *_type_checks(), *patches(self)):
            self._patches.enter_context(patch)
        return super().__enter__()

    def __exit__(self, *failure):
        super().__exit__(*failure)
        self._patches.close()

    def reset(self):
        """Count from zero."""
        self.kernels.clear()
        self.waits.clear()

    def launch(self, kernels):
        """Count kernels that an operator of mmcv or spconv starts."""
        self.kernels[line_of_ours()] += kernels

    def wait(self, kind):
        """Count a host synchronisation."""
        self.waits[kind, line_of_ours()] += 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        tensors = tensors_in((args, kwargs))
        ours = [value for value in tensors if isinstance(value, OnGPU)]
        if any(value.device.type == DEVICE.type and not isinstance(value, OnGPU) for value in tensors):
            raise NotImplementedError(f'{name}: C++ made a tensor of the device without asking, so its values are lost')
        target = kwargs.get('device')
        to_gpu = bool(ours) if target is None else torch.device(target).type == DEVICE.type
        if name == 'copy_':
            to_gpu = isinstance(args[0], OnGPU)
        elif target is None and ours:
            self._check_operands(name, args, tensors)
        if target is not None:
            kwargs |= {'device': 'cpu', **({'pin_memory': False} if kwargs.get('pin_memory') else {})}
        self._count(name, args, tensors, ours, to_gpu)
        before = {id(value.values_on_cpu): value for value in ours}
        if to_gpu and name in ('div', 'div_') and not kwargs and isinstance(args[0], OnGPU):
            func, args = _as_cuda_divides(func, *args)
        result = func(*mapped(off, args), **mapped(off, kwargs))
        for value in ours:
            if value.shape != value.values_on_cpu.shape:
                raise NotImplementedError(f'{name} changes the shape of a tensor in place')

        def wrapped(value):
            same = before.get(id(value))  # what an operator changed in place stays the same tensor
            return same if same is not None else on(value) if to_gpu else value

        return mapped(wrapped, result)

    def _check_operands(self, name, args, tensors):
        """Refuse operands on two devices; numbers may come from the CPU, and indices into a tensor of the device."""
        strangers = [value for value in tensors if not isinstance(value, OnGPU) and value.dim() > 0]
        if name in INDEXING:
            if not isinstance(args[0], OnGPU):
                raise DeviceError(f'{name}: indices on the GPU into a tensor on the CPU')
            strangers = [value for value in args[2:3] if not isinstance(value, OnGPU) and value.dim() > 0]
        if strangers:
            shapes = [tuple(value.shape) for value in strangers]
            raise DeviceError(f'{name}: expected all tensors on one device, found {shapes} on the CPU')

    def _count(self, name, args, tensors, ours, to_gpu):
        if ours and name not in FREE:
            self.launch(1)
        if name in ('_to_copy', 'copy_'):
            if ours and not to_gpu:
                self.wait('copy to the CPU')
            elif to_gpu and len(ours) < len(tensors):
                self.wait('copy to the GPU')
        elif name in INDEXING and ours:
            for index in args[1]:
                if index is not None and not isinstance(index, OnGPU):
                    self.wait('copy to the GPU')
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    self.wait('boolean index')
        elif name in WAITING and ours:
            self.wait(name.strip('_'))


def _as_cuda_divides(func, values, divisor):
    """A division by a number of the host is a product with its reciprocal there, one bit less exact."""
    if isinstance(divisor, OnGPU) or not values.is_floating_point():
        return func, (values, divisor)
    aten = torch.ops.aten
    product = aten.mul.Tensor if func.overloadpacket is aten.div else aten.mul_.Tensor
    kind = torch.promote_types(values.dtype, torch.float32)  # half types are computed in single precision
    return product, (values, float(1 / torch.tensor(float(divisor), dtype=kind)))


def line_of_ours():
    """The innermost line of the package that is being executed, as ``'models/pvrcnn.py:12'``."""
    for frame, number in traceback.walk_stack(None):
        file = frame.f_code.co_filename
        if file.startswith(PACKAGE):
            return f'{file[len(PACKAGE) + 1 :]}:{number}'
    return 'upstream'


def _constructors():
    """Constructors that fill a tensor in C++ before its device is asked: for ``meta`` they leave the values out."""
    tensor, as_tensor = torch.tensor, torch.as_tensor

    def is_ours(device):
        return device is not None and torch.device(device).type == DEVICE.type

    def read(data):
        """Bring numbers of the device in a list to the host one by one, as torch does."""
        if isinstance(data, list | tuple):
            return [value.item() if isinstance(value, OnGPU) else read(value) for value in data]
        return off(data)

    def make(data, *, dtype=None, device=None, **more):
        values = tensor(
            read(data), dtype=dtype, **more, **({} if device is None or is_ours(device) else {'device': device})
        )
        return values.to(DEVICE) if is_ours(device) else values

    def take(data, dtype=None, device=None):
        if isinstance(data, torch.Tensor):
            return data.to(device=device if device is not None else data.device, dtype=dtype or data.dtype)
        values = as_tensor(data, dtype=dtype)
        return values.to(device) if device is not None else values

    yield mock.patch.object(torch, 'tensor', make)
    yield mock.patch.object(torch, 'as_tensor', take)


class _BoolType(type):
    def __instancecheck__(cls, value):
        return isinstance(value, OnGPU) and value.dtype == torch.bool


class _BoolOnGPU(metaclass=_BoolType):
    """Stands for ``torch.cuda.BoolTensor`` in checks of types."""


def _type_checks():
    """Places of MMEngine and MMDetection3D that compare the type of a tensor."""
    from typing import Union

    from mmdet3d.utils.array_converter import ArrayConverter
    from mmengine.structures import instance_data

    convert, recover = ArrayConverter.convert, ArrayConverter.recover

    def keep(self, input_array, target_type=None, target_array=None):
        wants_tensor = target_type is torch.Tensor or isinstance(target_array, torch.Tensor)
        if isinstance(input_array, torch.Tensor) and wants_tensor:
            return input_array
        return convert(self, input_array, target_type, target_array)

    def give_back(self, input_array):
        is_tensor = isinstance(input_array, torch.Tensor) and issubclass(self.array_type, torch.Tensor)
        return input_array if is_tensor else recover(self, input_array)

    yield mock.patch.object(ArrayConverter, 'convert', keep)
    yield mock.patch.object(ArrayConverter, 'recover', give_back)
    yield mock.patch.object(instance_data, 'IndexType', Union[instance_data.IndexType, OnGPU])  # noqa: UP007
    yield mock.patch.object(instance_data, 'BoolTypeTensor', Union[torch.BoolTensor, _BoolOnGPU])  # noqa: UP007
