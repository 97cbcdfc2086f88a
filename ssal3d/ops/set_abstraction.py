"""Set abstraction on the CPU: the features of a centre's neighbours through a small network, then their maximum.

The usual way repeats the first neighbour until every centre has K of them, and runs the whole network on all M K rows.
Two identities make that unnecessary without changing the result (beyond float rounding):

* A repeated row has the same features. Each neighbour is computed once, and counts as often as it would be repeated in
  the statistics of batch normalisation; a maximum does not see repetitions at all.
* The first layer is linear. Features are multiplied by its weights once per point and not once per neighbour; only the
  three relative coordinates differ from neighbour to neighbour.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from ssal3d.ops.ball_query import stacked_ball_query
from ssal3d.ops.grouping import stacked_rows
from ssal3d.ops.kernel import kernel


def set_abstraction(
    points: Tensor,
    point_counts: Tensor,
    centres: Tensor,
    centre_counts: Tensor,
    features: Tensor,
    radius: float,
    num_samples: int,
    layers: Sequence[tuple[Tensor, nn.BatchNorm2d]],
) -> Tensor:
    """Pool the neighbours of each centre with a shared network of linear layers, batch normalisation and ReLU.

    Args:
        points: ``(N1 + N2 + ..., 3)`` points of all frames; no gradient flows into coordinates.
        point_counts: ``(B,)`` the numbers N1, N2, ...
        centres: ``(M1 + M2 + ..., 3)`` centres of all frames.
        centre_counts: ``(B,)`` the numbers M1, M2, ...
        features: ``(N1 + N2 + ..., C)`` features of the points.
        radius: Neighbours are nearer than this, in metres.
        num_samples: The K first neighbours by index count.
        layers: Per layer the weights ``(outputs, inputs)`` and the normalisation. The first layer's inputs are the
            three coordinates relative to the centre, then the C features; all are zero for a centre without neighbours.

    Returns:
        ``(M1 + M2 + ..., outputs of the last layer)`` maxima over the neighbours.
    """
    neighbours = stacked_ball_query(radius, num_samples, points, point_counts, centres, centre_counts)
    rows = stacked_rows(neighbours, point_counts, centre_counts)
    neighbour, centre, times, starts = map(torch.from_numpy, _without_repetitions(rows.numpy()))
    weights, norm = layers[0]
    projected = F.linear(features, weights[:, 3:])
    values = _FirstLayer.apply(projected, weights[:, :3].t(), points, centres, neighbour, centre)
    values = _normalise(values, times, norm)
    for weights, norm in layers[1:]:
        values = _normalise(F.linear(values, weights), times, norm)
    return _SegmentMax.apply(values, starts)


def _normalise(values: Tensor, times: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Batch normalisation and ReLU of rows that count several times; updates the running statistics like torch."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    if not norm.training:
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        return torch.addcmul(norm.bias - norm.running_mean * scale, values, scale).relu_()
    result, mean, variance, total = _NormRelu.apply(values, times, norm.weight, norm.bias, norm.eps)
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        momentum = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(variance * (total / max(total - 1, 1)), momentum)
    return result


class _FirstLayer(Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, weights: Tensor, points: Tensor, centres: Tensor, neighbour: Tensor, centre: Tensor
    ) -> Tensor:
        relation = tuple(part.detach().contiguous().numpy() for part in (points, centres, neighbour, centre))
        ctx.relation, ctx.num_points = relation, len(projected)
        result = projected.new_empty((len(neighbour), projected.shape[1]))
        values, factors = projected.detach().contiguous().numpy(), weights.detach().contiguous().numpy()
        _first_layer(values, factors, relation, result.numpy())
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
        for_projected = gradients.new_zeros((ctx.num_points, gradients.shape[1]))
        for_weights = np.zeros((3, gradients.shape[1]))
        _first_layer_backward(gradients.contiguous().numpy(), ctx.relation, for_projected.numpy(), for_weights)
        return for_projected, torch.from_numpy(for_weights).to(gradients.dtype), None, None, None, None


class _NormRelu(Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, times: Tensor, scale: Tensor, shift: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        array, counts = values.detach().contiguous().numpy(), times.numpy()
        mean, variance, total = _statistics(array, counts)
        spread = 1.0 / np.sqrt(variance + eps)
        result = torch.empty_like(values, memory_format=torch.contiguous_format)
        factor = (scale.detach().numpy() * spread).astype(array.dtype)
        _scale_relu(array, mean.astype(array.dtype), factor, shift.detach().numpy(), result.numpy())
        ctx.save_for_backward(result)
        ctx.arrays = array, counts, mean, spread, factor, total
        statistics = [torch.from_numpy(part).to(values.dtype) for part in (mean, variance)]
        ctx.mark_non_differentiable(*statistics)
        return result, *statistics, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        (result,) = ctx.saved_tensors
        array, counts, mean, spread, factor, total = ctx.arrays
        for_values = torch.empty_like(result)
        for_scale, for_shift = _norm_relu_backward(
            gradients.contiguous().numpy(),
            result.numpy(),
            array,
            counts,
            mean,
            spread,
            factor,
            total,
            for_values.numpy(),
        )
        parts = [torch.from_numpy(part).to(gradients.dtype) for part in (for_scale, for_shift)]
        return for_values, None, *parts, None


class _SegmentMax(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, starts: Tensor) -> Tensor:
        result = values.new_empty((len(starts) - 1, values.shape[1]))
        ctx.where = np.empty(result.shape, dtype=np.int32)
        ctx.num_rows = len(values)
        _segment_max(values.detach().numpy(), starts.numpy(), result.numpy(), ctx.where)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, None]:
        result = gradients.new_zeros((ctx.num_rows, gradients.shape[1]))
        _segment_max_backward(gradients.contiguous().numpy(), ctx.where, result.numpy())
        return result, None


@kernel
def _without_repetitions(rows: Any) -> Any:
    """List the neighbours of ``(M, K)`` padded rows once: row of the point, its centre, how often it stands there.

    The padding repeats the first neighbour. A centre without neighbours keeps one entry, -1, which counts K times.
    """
    centres, samples = rows.shape
    neighbour, centre = np.empty(rows.size, dtype=np.int64), np.empty(rows.size, dtype=np.int64)
    times, starts = np.empty(rows.size, dtype=np.float32), np.zeros(centres + 1, dtype=np.int64)
    size = 0
    for m in range(centres):
        first = size
        for k in range(samples):
            if k > 0 and (rows[m, k] == rows[m, 0] or rows[m, 0] < 0):
                break
            neighbour[size], centre[size], times[size] = rows[m, k], m, 1.0
            size += 1
        times[first] += samples - (size - first)
        starts[m + 1] = size
    return neighbour[:size], centre[:size], times[:size], starts


@kernel
def _first_layer(projected: Any, weights: Any, relation: Any, result: Any) -> Any:
    points, centres, neighbour, centre = relation
    for k in range(neighbour.shape[0]):
        n, m = neighbour[k], centre[k]
        if n < 0:
            for c in range(projected.shape[1]):
                result[k, c] = 0.0
            continue
        dx, dy, dz = points[n, 0] - centres[m, 0], points[n, 1] - centres[m, 1], points[n, 2] - centres[m, 2]
        for c in range(projected.shape[1]):
            result[k, c] = projected[n, c] + dx * weights[0, c] + dy * weights[1, c] + dz * weights[2, c]


@kernel
def _first_layer_backward(gradients: Any, relation: Any, for_projected: Any, for_weights: Any) -> Any:
    points, centres, neighbour, centre = relation
    for k in range(neighbour.shape[0]):
        n, m = neighbour[k], centre[k]
        if n < 0:
            continue
        dx, dy, dz = points[n, 0] - centres[m, 0], points[n, 1] - centres[m, 1], points[n, 2] - centres[m, 2]
        for c in range(gradients.shape[1]):
            gradient = gradients[k, c]
            for_projected[n, c] += gradient
            for_weights[0, c] += gradient * dx
            for_weights[1, c] += gradient * dy
            for_weights[2, c] += gradient * dz


@kernel
def _statistics(values: Any, times: Any) -> Any:
    """Mean and variance (not Bessel-corrected) of each column, and the number of rows, all with repetitions."""
    channels = values.shape[1]
    first = values[0].copy()  # sums are taken around a value of the column, so that squares do not cancel
    sums, squares, total = np.zeros(channels), np.zeros(channels), np.float64(0.0)
    for k in range(values.shape[0]):
        weight = np.float64(times[k])
        total += weight
        for c in range(channels):
            shifted = np.float64(values[k, c] - first[c])
            sums[c] += weight * shifted
            squares[c] += weight * shifted * shifted
    mean = sums / total
    return mean + first, np.maximum(squares / total - mean * mean, 0.0), total


@kernel
def _scale_relu(values: Any, mean: Any, factor: Any, shift: Any, result: Any) -> Any:
    zero = values.dtype.type(0.0)
    for k in range(values.shape[0]):
        for c in range(values.shape[1]):
            scaled = (values[k, c] - mean[c]) * factor[c] + shift[c]
            result[k, c] = scaled if scaled > zero else zero


@kernel
def _norm_relu_backward(
    gradients: Any,
    result: Any,
    values: Any,
    times: Any,
    mean: Any,
    spread: Any,
    factor: Any,
    total: Any,
    for_values: Any,
) -> Any:
    channels = values.shape[1]
    for_scale, for_shift = np.zeros(channels), np.zeros(channels)
    for k in range(values.shape[0]):
        for c in range(channels):
            gradient = np.float64(gradients[k, c]) if result[k, c] > 0.0 else 0.0
            for_shift[c] += gradient
            for_scale[c] += gradient * (np.float64(values[k, c]) - mean[c])
    for_scale *= spread
    number = values.dtype.type
    low, tilt = (for_shift / total).astype(values.dtype), (for_scale * spread / total).astype(values.dtype)
    centre = mean.astype(values.dtype)
    for k in range(values.shape[0]):
        weight = number(times[k])
        for c in range(channels):
            gradient = gradients[k, c] if result[k, c] > 0.0 else number(0.0)
            for_values[k, c] = factor[c] * (gradient - weight * (low[c] + (values[k, c] - centre[c]) * tilt[c]))
    return for_scale, for_shift


@kernel
def _segment_max(values: Any, starts: Any, result: Any, where: Any) -> Any:
    for m in range(result.shape[0]):
        for c in range(result.shape[1]):
            result[m, c], where[m, c] = values[starts[m], c], starts[m]
        for k in range(starts[m] + 1, starts[m + 1]):
            for c in range(result.shape[1]):
                if values[k, c] > result[m, c]:
                    result[m, c], where[m, c] = values[k, c], k


@kernel
def _segment_max_backward(gradients: Any, where: Any, result: Any) -> Any:
    for m in range(gradients.shape[0]):
        for c in range(gradients.shape[1]):
            result[where[m, c], c] = gradients[m, c]


def _warm_up() -> None:
    one, points = torch.ones(1, dtype=torch.int32), torch.zeros(1, 3)
    weights = torch.zeros(1, 4, requires_grad=True)
    set_abstraction(
        points, one, points, one, torch.zeros(1, 1), 1.0, 2, [(weights, nn.BatchNorm2d(1))]
    ).sum().backward()
