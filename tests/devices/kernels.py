"""The kernels that mmcv and spconv would run on the imagined GPU: ours for the CPU, behind their signatures."""

import importlib
from unittest import mock

from ssal3d.compat import mmcv_fixes
from ssal3d.ops import point_membership, sampling
from tests.devices.imagined import DeviceError, OnGPU, mapped, off, on, tensors_in
from tests.helpers.operator_inputs import renumbered

KERNELS_PER_CALL = 3  # about: an operator of mmcv is one to five kernels
SIZES_ON_THE_CPU = ('dynamic_voxelize_forward',)  # takes voxel size and range as CPU tensors
WAITING = ('nms', 'nms_rotated')  # read a count back, and return no result of known size


def patches(gpu):
    """Put the kernels in place of mmcv's and spconv's, for tensors of the device only."""
    extension = importlib.import_module('mmcv._ext')
    kernels = {**mmcv_fixes._MISSING, **mmcv_fixes._SLOW}
    del kernels['hard_voxelize_forward']  # sorts points with torch's own operators on every device but the CPU
    kernels |= {
        'points_in_boxes_part_forward': _points_in_boxes_part,
        'points_in_boxes_all_forward': _points_in_boxes_all,
    }
    for name, kernel in kernels.items():
        yield mock.patch.object(extension, name, _by_device(gpu, name, kernel, getattr(extension, name)), create=True)
    yield from _sampling(gpu)
    yield from _sparse_convolution(gpu)
    yield mock.patch('torch.cuda.current_device', return_value=0)


def _by_device(gpu, name, kernel, otherwise):
    def choose(first, *args, **kwargs):
        if not isinstance(first, OnGPU):
            return otherwise(first, *args, **kwargs)
        check_arguments(name, (first, *args), kwargs)
        gpu.launch(KERNELS_PER_CALL)
        if name in WAITING:
            gpu.wait(f'inside {name}')
        return mapped(on, kernel(*mapped(off, (first, *args)), **mapped(off, kwargs)))

    return choose


def check_arguments(name, args, kwargs):
    """Refuse what mmcv's CUDA kernels refuse or misread: other devices, gaps between rows, no rows, mixed precision."""
    tensors = tensors_in((args, kwargs))
    for tensor in tensors:
        if not isinstance(tensor, OnGPU) and name not in SIZES_ON_THE_CPU:
            raise DeviceError(f'{name}: a tensor of {tuple(tensor.shape)} is on the CPU')
        if not tensor.is_contiguous():
            raise DeviceError(f'{name}: a tensor of {tuple(tensor.shape)} is not contiguous')
    if tensors[0 if name in WAITING else -1].numel() == 0:  # as many blocks as the result has elements
        raise DeviceError(f'{name}: no rows, so no blocks: {[tuple(tensor.shape) for tensor in tensors]}')
    if len({tensor.dtype for tensor in tensors if tensor.is_floating_point()}) > 1:
        raise DeviceError(f'{name}: mixed precision {[tensor.dtype for tensor in tensors]}')


def _points_in_boxes_part(boxes, points, result):
    result.copy_(point_membership.points_in_boxes_part(points, boxes))


def _points_in_boxes_all(boxes, points, result):
    result.copy_(point_membership.points_in_boxes_all(points, boxes))


def _sampling(gpu):
    """The wrapper of this operator makes its result with ``torch.cuda.IntTensor``, so it is replaced as a whole."""
    from mmcv.ops.furthest_point_sample import FurthestPointSampling

    original = FurthestPointSampling.forward

    def forward(ctx, points, num_points):
        if not isinstance(points, OnGPU):
            return original(ctx, points, num_points)
        check_arguments('furthest_point_sampling_forward', (points,), {})
        gpu.launch(KERNELS_PER_CALL)
        chosen = on(sampling.furthest_point_sample(off(points), num_points))
        ctx.mark_non_differentiable(chosen)
        return chosen

    yield mock.patch.object(FurthestPointSampling, 'forward', staticmethod(forward))


def _sparse_convolution(gpu):
    """spconv's functions; as on CUDA, a strided convolution numbers its rows in another order at each call."""
    from spconv.pytorch import ops
    from spconv.pytorch.conv import SparseConvolutionBase

    def lifted(function, kernels):
        def call(*args, **kwargs):
            tensors = tensors_in((args, kwargs))
            if not any(isinstance(value, OnGPU) for value in tensors):
                return function(*args, **kwargs)
            if not all(isinstance(value, OnGPU) for value in tensors):
                raise DeviceError(f'{function.__name__}: tensors on two devices')
            gpu.launch(kernels)
            gpu.wait('inside spconv')
            before = {id(off(value)): value for value in tensors}
            result = function(*mapped(off, args), **mapped(off, kwargs))
            return mapped(lambda value: before.get(id(value), on(value)), result)

        return call

    pairs = ops.get_indice_pairs

    def pairs_in_hash_order(indices, batch, shape, algo, ksize, stride, padding, dilation, out_padding, subm, *more):
        found = pairs(indices, batch, shape, algo, ksize, stride, padding, dilation, out_padding, subm, *more)
        return found if subm else renumbered(*found, gpu.numbering)

    yield mock.patch.object(SparseConvolutionBase, '_conv_forward', _native(SparseConvolutionBase._conv_forward))
    yield mock.patch.object(ops, 'get_indice_pairs', lifted(pairs_in_hash_order, 5))
    for name in ('indice_conv', 'indice_conv_backward'):
        yield mock.patch.object(ops, name, lifted(getattr(ops, name), 5))


def _native(forward):
    """Use the one algorithm that has kernels here, also in a CUDA build of spconv, whose layers have chosen another."""
    from spconv.core import ConvAlgo

    def forward_natively(self, training, input, *args, **kwargs):
        chosen = self.algo
        if isinstance(input.features, OnGPU):
            self.algo = ConvAlgo.Native
        try:
            return forward(self, training, input, *args, **kwargs)
        finally:
            self.algo = chosen

    return forward_natively
