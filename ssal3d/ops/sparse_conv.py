"""Sparse 3D convolution on the CPU in the data layout of spconv: which voxels it connects, forward and backward.

A convolution with kernel volume V is described by pairs ``(2, V, N)``: for kernel position v, ``pairs[0, v]`` lists
input rows and ``pairs[1, v]`` the output rows that they contribute to, -1 after the last. Submanifold convolutions
count only the first half of the kernel positions; the second half mirrors it, the middle one is the identity.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssal3d.ops.grouping import add_rows_kernel, take_rows_kernel
from ssal3d.ops.kernel import kernel


def submanifold_pairs(
    indices: Tensor, spatial_shape: Sequence[int], kernel_size: Sequence[int], dilation: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Find the neighbours of each voxel; the outputs of the convolution are its inputs.

    Args:
        indices: ``(N, 4)`` int32 voxels: frame, z, y, x.
        spatial_shape: Number of voxels in z, y, x.
        kernel_size: Three odd sizes.
        dilation: Three dilations.

    Returns:
        ``(2, V, N)`` int32 pairs and ``(V,)`` int32 numbers of pairs (zero from the middle position on). O(N V).
    """
    pairs, counts = _submanifold_pairs(
        indices.numpy(), *(np.array(values, dtype=np.int64) for values in (spatial_shape, kernel_size, dilation))
    )
    return torch.from_numpy(pairs), torch.from_numpy(counts)


def convolution_pairs(
    indices: Tensor,
    out_shape: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the outputs of a strided sparse convolution.

    Args:
        indices: ``(N, 4)`` int32 voxels: frame, z, y, x.
        out_shape: Number of output voxels in z, y, x.
        kernel_size: Three sizes.
        stride: Three strides.
        padding: Three paddings.
        dilation: Three dilations.

    Returns:
        ``(M, 4)`` int32 output voxels, sorted by frame, z, y, x (spconv's own kernels mix the frames, on the CPU and,
        since 2.2, on CUDA), ``(2, V, N)`` int32 pairs and ``(V,)`` int32 numbers of pairs. O(N V + M log M).
    """
    outputs, pairs, counts = _convolution_pairs(
        indices.numpy(),
        *(np.array(values, dtype=np.int64) for values in (out_shape, kernel_size, stride, padding, dilation)),
    )
    return torch.from_numpy(outputs), torch.from_numpy(pairs), torch.from_numpy(counts)


def convolve(
    features: Tensor, filters: Tensor, pairs: Tensor, counts: Tensor, num_outputs: int, submanifold: bool
) -> Tensor:
    """Sum the filtered inputs of each output.

    Args:
        features: ``(N, C)`` features of the inputs.
        filters: ``(D, ..., C)`` filters of D output channels, the kernel positions in between.
        pairs: ``(2, V, N)`` pairs.
        counts: ``(V,)`` numbers of pairs.
        num_outputs: Number of output rows.
        submanifold: Whether the pairs are those of a submanifold convolution.

    Returns:
        ``(num_outputs, D)`` sums, added in the order of kernel positions: the result does not depend on threads.
    """
    weights = filters.reshape(len(filters), -1, filters.shape[-1])
    if submanifold:
        result = features @ weights[:, weights.shape[1] // 2].T
    else:
        result = features.new_zeros((num_outputs, len(filters)))
    source, target = features.contiguous().numpy(), result.numpy()
    for position, inputs, outputs in _positions(pairs, counts, submanifold):
        add_rows_kernel((_rows(source, inputs) @ weights[:, position].T).numpy(), outputs, target)
    return result


def convolve_backward(
    features: Tensor, filters: Tensor, gradients: Tensor, pairs: Tensor, counts: Tensor, submanifold: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of :func:`convolve` for the features and the filters.

    Args:
        features: ``(N, C)`` features of the inputs.
        filters: ``(D, ..., C)`` filters.
        gradients: ``(M, D)`` gradients of the result.
        pairs: ``(2, V, N)`` pairs.
        counts: ``(V,)`` numbers of pairs.
        submanifold: Whether the pairs are those of a submanifold convolution.
    """
    weights = filters.reshape(len(filters), -1, filters.shape[-1])
    for_weights = torch.zeros_like(weights)
    if submanifold:
        middle = weights.shape[1] // 2
        for_features = gradients @ weights[:, middle]
        for_weights[:, middle] = gradients.T @ features
    else:
        for_features = features.new_zeros(features.shape)
    source, arrived = features.contiguous().numpy(), gradients.contiguous().numpy()
    target = for_features.numpy()
    for position, inputs, outputs in _positions(pairs, counts, submanifold):
        rows = _rows(arrived, outputs)
        for_weights[:, position] = rows.T @ _rows(source, inputs)
        add_rows_kernel((rows @ weights[:, position]).numpy(), inputs, target)
    return for_features, for_weights.view_as(filters)


def _positions(pairs: Tensor, counts: Tensor, submanifold: bool) -> list[tuple[int, Any, Any]]:
    """Return kernel position, input rows and output rows of every position that has pairs, but for the identity."""
    table, numbers = pairs.numpy(), counts.tolist()
    if submanifold:
        half = len(numbers) // 2
        numbers = [*numbers[:half], 0, *numbers[:half][::-1]]
    return [(v, table[0, v, :number], table[1, v, :number]) for v, number in enumerate(numbers) if number > 0]


def _rows(source: Any, rows: Any) -> Tensor:
    result = np.empty((len(rows), source.shape[1]), dtype=source.dtype)
    take_rows_kernel(source, rows, result)
    return torch.from_numpy(result)


@kernel(inline='always')
def _place(keys: Any, key: Any) -> Any:
    """Slot of a key in an open-addressing table, or of the free slot where it belongs."""
    mask = np.uint64(keys.shape[0] - 1)
    place = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) & mask
    while keys[place] != key and keys[place] != -1:
        place = (place + np.uint64(1)) & mask
    return place


@kernel
def _table_size(count: Any) -> Any:
    size = 64
    while size < 2 * count:
        size *= 2
    return size


@kernel
def _submanifold_pairs(indices: Any, shape: Any, kernel: Any, dilation: Any) -> Any:
    count, volume = indices.shape[0], kernel[0] * kernel[1] * kernel[2]
    keys = np.full(_table_size(count), -1, dtype=np.int64)
    rows = np.empty(keys.shape[0], dtype=np.int32)
    for n in range(count):
        frame, z, y, x = indices[n, 0], indices[n, 1], indices[n, 2], indices[n, 3]
        place = _place(keys, ((frame * shape[0] + z) * shape[1] + y) * shape[2] + x)
        keys[place], rows[place] = ((frame * shape[0] + z) * shape[1] + y) * shape[2] + x, n
    pairs, counts = np.full((2, volume, count), -1, dtype=np.int32), np.zeros(volume, dtype=np.int32)
    for n in range(count):
        pairs[0, volume // 2, n] = pairs[1, volume // 2, n] = n
    for v in range(volume // 2):
        shift_z = (v // (kernel[1] * kernel[2]) - kernel[0] // 2) * dilation[0]
        shift_y = (v // kernel[2] % kernel[1] - kernel[1] // 2) * dilation[1]
        shift_x = (v % kernel[2] - kernel[2] // 2) * dilation[2]
        for n in range(count):
            frame, z, y, x = indices[n, 0], indices[n, 1] + shift_z, indices[n, 2] + shift_y, indices[n, 3] + shift_x
            if 0 <= z < shape[0] and 0 <= y < shape[1] and 0 <= x < shape[2]:
                place = _place(keys, ((frame * shape[0] + z) * shape[1] + y) * shape[2] + x)
                if keys[place] != -1:
                    slot = counts[v]
                    pairs[0, v, slot] = pairs[1, volume - 1 - v, slot] = rows[place]
                    pairs[1, v, slot] = pairs[0, volume - 1 - v, slot] = n
                    counts[v] += 1
    return pairs, counts


@kernel
def _convolution_pairs(indices: Any, shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    count, volume = indices.shape[0], kernel[0] * kernel[1] * kernel[2]
    reached = _reached(indices, shape, kernel, stride, padding, dilation)
    keys, rows, distinct = _number_distinct(reached)
    outputs = np.empty((distinct.shape[0], 4), dtype=np.int32)
    for m in range(distinct.shape[0]):
        rest = distinct[m]
        for axis in range(2, -1, -1):
            outputs[m, 1 + axis] = rest % shape[axis]
            rest //= shape[axis]
        outputs[m, 0] = rest
    pairs, counts = np.full((2, volume, count), -1, dtype=np.int32), np.zeros(volume, dtype=np.int32)
    for n in range(count):
        for v in range(volume):
            if reached[n, v] >= 0:
                pairs[0, v, counts[v]] = n
                pairs[1, v, counts[v]] = rows[_place(keys, reached[n, v])]
                counts[v] += 1
    return outputs, pairs, counts


@kernel
def _reached(indices: Any, shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Linear index of the output voxel by input and kernel position, -1 where there is none."""
    volume = kernel[0] * kernel[1] * kernel[2]
    reached = np.full((indices.shape[0], volume), -1, dtype=np.int64)
    on_axis = np.empty((3, max(kernel[0], kernel[1], kernel[2])), dtype=np.int64)
    for n in range(indices.shape[0]):
        for axis in range(3):
            for k in range(kernel[axis]):
                scaled = indices[n, 1 + axis] + padding[axis] - k * dilation[axis]
                out = scaled // stride[axis]
                on_axis[axis, k] = out if out * stride[axis] == scaled and 0 <= out < shape[axis] else -1
        v = 0
        for z in on_axis[0, : kernel[0]]:
            for y in on_axis[1, : kernel[1]]:
                for x in on_axis[2, : kernel[2]]:
                    if z >= 0 and y >= 0 and x >= 0:
                        reached[n, v] = ((indices[n, 0] * shape[0] + z) * shape[1] + y) * shape[2] + x
                    v += 1
    return reached


@kernel
def _number_distinct(values: Any) -> Any:
    """Hash table of the distinct non-negative values and their places in sorted order, and the sorted values."""
    flat = values.ravel()
    valid = 0
    for value in flat:
        valid += value >= 0
    keys = np.full(_table_size(valid), -1, dtype=np.int64)
    distinct = np.empty(valid, dtype=np.int64)
    size = 0
    for value in flat:
        if value >= 0:
            place = _place(keys, value)
            if keys[place] == -1:
                keys[place] = value
                distinct[size] = value
                size += 1
    distinct = np.sort(distinct[:size])
    rows = np.empty(keys.shape[0], dtype=np.int32)
    for m in range(size):
        rows[_place(keys, distinct[m])] = m
    return keys, rows, distinct


def _warm_up() -> None:
    voxel, sizes = torch.zeros((1, 4), dtype=torch.int32), [3, 3, 3]
    submanifold_pairs(voxel, sizes, sizes, [1, 1, 1])
    _, pairs, counts = convolution_pairs(voxel, sizes, sizes, [2, 2, 2], [1, 1, 1], [1, 1, 1])
    features, filters = torch.zeros(1, 1), torch.zeros(1, 3, 3, 3, 1)
    convolve_backward(features, filters, convolve(features, filters, pairs, counts, 1, False), pairs, counts, False)
