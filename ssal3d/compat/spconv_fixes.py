"""Defects of spconv: rows in random order on CUDA, and CPU kernels that are missing, wrong or raced."""

import inspect
from collections.abc import Sequence
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor

from ssal3d.compat.fix import Fix, replace_everywhere
from ssal3d.ops.sparse_conv import convolution_pairs, convolve, convolve_backward, submanifold_pairs


def _stream_needs_cuda() -> bool:
    from spconv.pytorch import cppcore

    if torch.cuda.is_available():
        return False
    try:
        cppcore.get_current_stream()
    except (AssertionError, RuntimeError):
        return True
    return False


def _answer_without_cuda() -> None:
    from spconv.pytorch import cppcore, ops

    replace_everywhere(cppcore.get_current_stream, lambda: 0)  # the handle of the default stream; unused on the CPU
    assert ops.get_current_stream() == 0


def _frames_are_mixed() -> bool:
    from spconv.core import ConvAlgo
    from spconv.pytorch import ops

    voxels = torch.tensor([[0, 2, 2, 2], [1, 2, 2, 2]], dtype=torch.int32)
    three, one, none = [3] * 3, [1] * 3, [0] * 3
    outputs = ops.get_indice_pairs(voxels, 2, [5] * 3, ConvAlgo.Native, three, one, one, one, none)[0]
    frames = outputs[:, 0].tolist()
    return frames != sorted(frames)


def _keep_frames_together() -> None:
    from spconv.pytorch import ops

    original = ops.get_indice_pairs

    @wraps(original)
    def pairs_by_device(
        indices: Tensor,
        batch_size: int,
        spatial_shape: Sequence[int],
        algo: Any,
        ksize: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        out_padding: Sequence[int],
        subm: bool = False,
        transpose: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if (
            indices.device.type != 'cpu'
            or len(ksize) != 3
            or transpose
            or (subm and any(size % 2 == 0 for size in ksize))
        ):
            return original(
                indices,
                batch_size,
                spatial_shape,
                algo,
                ksize,
                stride,
                padding,
                dilation,
                out_padding,
                subm,
                transpose,
                *args,
                **kwargs,
            )
        if subm:
            return (indices, *submanifold_pairs(indices, spatial_shape, ksize, dilation))
        out_shape = ops.get_conv_output_size(spatial_shape, ksize, stride, padding, dilation)
        return convolution_pairs(indices, out_shape, ksize, stride, padding, dilation)

    ops.get_indice_pairs = pairs_by_device


def _rows_are_hashed() -> bool:
    from spconv.pytorch import ops

    parameter = inspect.signature(ops.get_indice_pairs_implicit_gemm).parameters.get('direct_table')
    return parameter is not None and parameter.default is True


def _number_rows_in_order() -> None:
    from spconv.pytorch import ops

    # The other algorithm takes the sorted distinct voxels; the layers look this function up when they are called.
    ops.get_indice_pairs_implicit_gemm = partial(ops.get_indice_pairs_implicit_gemm, direct_table=False)


def _layers_keep_their_algorithm() -> bool:
    return True  # true of every release so far; the test of this fix shows it


def _serve_cpu_tensors() -> None:
    from spconv.core import ConvAlgo
    from spconv.pytorch.conv import SparseConvolutionBase

    original = SparseConvolutionBase._conv_forward

    @wraps(original)
    def forward_by_device(self: Any, training: bool, input: Any, *args: Any, **kwargs: Any) -> Any:
        chosen = self.algo
        if input.features.device.type != 'cpu' or chosen == ConvAlgo.Native:
            return original(self, training, input, *args, **kwargs)
        self.algo = ConvAlgo.Native  # the one with CPU kernels
        try:
            return original(self, training, input, *args, **kwargs)
        finally:
            self.algo = chosen

    SparseConvolutionBase._conv_forward = forward_by_device


def _sums_are_raced() -> bool:
    return True  # true of every release so far, once there are several threads; the test of this fix shows it


def _sum_in_order() -> None:
    from spconv.pytorch import ops

    forward, backward = ops.indice_conv, ops.indice_conv_backward

    @wraps(forward)
    def forward_by_device(
        features: Tensor,
        filters: Tensor,
        indice_pairs: Tensor,
        indice_pair_num: Tensor,
        num_activate_out: int,
        inverse: bool = False,
        subm: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        if not _is_plain(features, filters):
            arguments = (features, filters, indice_pairs, indice_pair_num, num_activate_out, inverse, subm)
            return forward(*arguments, *args, **kwargs)
        pairs = indice_pairs.flip(0) if inverse else indice_pairs
        return convolve(features, filters, pairs, indice_pair_num, num_activate_out, subm)

    @wraps(backward)
    def backward_by_device(
        features: Tensor,
        filters: Tensor,
        out_bp: Tensor,
        indice_pairs: Tensor,
        indice_pair_num: Tensor,
        inverse: bool = False,
        subm: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        if not _is_plain(features, filters):
            arguments = (features, filters, out_bp, indice_pairs, indice_pair_num, inverse, subm)
            return backward(*arguments, *args, **kwargs)
        pairs = indice_pairs.flip(0) if inverse else indice_pairs
        return convolve_backward(features, filters, out_bp, pairs, indice_pair_num, subm)

    ops.indice_conv, ops.indice_conv_backward = forward_by_device, backward_by_device


def _is_plain(features: Tensor, filters: Tensor) -> bool:
    """Whether the convolution is one of ours: on the CPU, in a type that NumPy computes with."""
    return features.device.type == 'cpu' and features.dtype == filters.dtype in (torch.float32, torch.float64)


FIXES = (
    Fix(
        name='spconv-stream',
        problem='The backward pass asks for the current CUDA stream, also for tensors on the CPU.',
        link='https://github.com/traveller59/spconv/issues/366',
        needs=('spconv',),
        is_needed=_stream_needs_cuda,
        apply=_answer_without_cuda,
    ),
    Fix(
        name='spconv-frame-order',
        problem='Strided convolutions on the CPU mix the voxels of the frames of a batch; PV-RCNN then pools from wrong frames.',
        link='https://github.com/traveller59/spconv/blob/v2.3.8/spconv/pytorch/ops.py#L310',
        needs=('spconv',),
        is_needed=_frames_are_mixed,
        apply=_keep_frames_together,
    ),
    Fix(
        name='spconv-hash-order',
        problem='On CUDA the rows of strided convolutions are numbered by a hash table: in random order, across frames.',
        link='https://github.com/traveller59/spconv/issues/592',
        needs=('spconv',),
        is_needed=_rows_are_hashed,
        apply=_number_rows_in_order,
    ),
    Fix(
        name='spconv-cuda-build',
        problem='Layers choose their algorithm when they are made; in a CUDA build it refuses tensors on the CPU.',
        link='https://github.com/traveller59/spconv/blob/v2.3.8/spconv/pytorch/conv.py#L111',
        needs=('spconv',),
        is_needed=_layers_keep_their_algorithm,
        apply=_serve_cpu_tensors,
    ),
    Fix(
        name='spconv-races',
        problem='With several threads the sums of a convolution on the CPU lose rows: wrong features and gradients.',
        link='https://github.com/traveller59/spconv/blob/v2.3.8/spconv/pytorch/ops.py#L986',
        needs=('spconv',),
        is_needed=_sums_are_raced,
        apply=_sum_in_order,
    ),
)
