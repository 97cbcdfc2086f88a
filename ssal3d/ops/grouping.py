"""Picking rows of features by index on the CPU, with gradient: grouping and gathering as mmcv defines them."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ssal3d.ops.kernel import kernel


def take_rows(features: Tensor, rows: Tensor) -> Tensor:
    """Pick rows of features; the gradient flows back into the rows that were picked.

    Args:
        features: ``(N, C)`` features.
        rows: Integer indices of any shape; -1 picks a row of zeros.

    Returns:
        ``(*rows.shape, C)`` picked rows.
    """
    return _TakeRows.apply(features, rows)


def add_rows(gradients: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """Add rows up by index, the transpose of :func:`take_rows`.

    Args:
        gradients: ``(*rows.shape, C)`` values.
        rows: Where each row of values is added; -1 for nowhere.
        num_rows: Number of rows of the result.

    Returns:
        ``(num_rows, C)`` sums, added in the order of ``rows``: the result does not depend on threads.
    """
    flat = _full_precision(gradients).reshape(-1, gradients.shape[-1])
    result = torch.zeros((num_rows, gradients.shape[-1]), dtype=flat.dtype)
    add_rows_kernel(flat.contiguous().numpy(), rows.reshape(-1).long().numpy(), result.numpy())
    return result.to(gradients.dtype)


def group_points(features: Tensor, indices: Tensor) -> Tensor:
    """Group features by index.

    Args:
        features: ``(B, C, N)`` features.
        indices: ``(B, M, K)`` indices into N.

    Returns:
        ``(B, C, M, K)`` grouped features.
    """
    flat = features.transpose(1, 2).reshape(-1, features.shape[1])
    return take_rows(flat, grouped_rows(indices, features.shape[2])).permute(0, 3, 1, 2)


def grouped_rows(indices: Tensor, num_features: int) -> Tensor:
    """Turn ``(B, M, K)`` indices within frames into rows of all frames' features."""
    return indices.long() + torch.arange(len(indices))[:, None, None] * num_features


def stacked_group_points(features: Tensor, indices: Tensor, feature_counts: Tensor, index_counts: Tensor) -> Tensor:
    """Group features of several frames, stacked along the first axis.

    Args:
        features: ``(N1 + N2 + ..., C)`` features.
        indices: ``(M1 + M2 + ..., K)`` indices into the features of the same frame.
        feature_counts: ``(B,)`` the numbers N1, N2, ...
        index_counts: ``(B,)`` the numbers M1, M2, ...

    Returns:
        ``(M1 + M2 + ..., C, K)`` grouped features; zeros for indices outside their frame.
    """
    rows = stacked_rows(indices, feature_counts, index_counts)
    return take_rows(features, rows).permute(0, 2, 1)


def stacked_rows(indices: Tensor, feature_counts: Tensor, index_counts: Tensor) -> Tensor:
    """Turn indices within frames into rows of the stacked features, -1 for indices outside their frame."""
    feature_counts = feature_counts.long()
    frame = torch.repeat_interleave(torch.arange(len(index_counts)), index_counts.long())[:, None]
    first = (torch.cumsum(feature_counts, 0) - feature_counts)[frame]
    inside = (indices >= 0) & (indices < feature_counts[frame])
    return torch.where(inside, indices + first, -1)


def gather_points(features: Tensor, indices: Tensor) -> Tensor:
    """Pick ``(B, C, M)`` features out of ``(B, C, N)`` by ``(B, M)`` indices."""
    return group_points(features, indices[..., None])[..., 0]


class _TakeRows(Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, rows: Tensor) -> Tensor:
        ctx.num_rows, ctx.rows = len(features), rows
        values = _full_precision(features).contiguous()
        result = values.new_empty((rows.numel(), features.shape[1]))
        take_rows_kernel(values.numpy(), rows.reshape(-1).long().numpy(), result.numpy())
        return result.view(*rows.shape, features.shape[1]).to(features.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, None]:
        return add_rows(gradients, ctx.rows, ctx.num_rows), None


def _full_precision(values: Tensor) -> Tensor:
    """Return the values in a type that NumPy and numba compute with."""
    return values.detach() if values.dtype in (torch.float32, torch.float64) else values.detach().float()


@kernel
def take_rows_kernel(features: Any, rows: Any, result: Any) -> Any:
    """Copy the picked rows of features into the result."""
    for k in range(rows.shape[0]):
        row = rows[k]
        for c in range(result.shape[1]):
            result[k, c] = features[row, c] if row >= 0 else 0.0


@kernel
def add_rows_kernel(gradients: Any, rows: Any, result: Any) -> Any:
    """Add each row of values to the row of the result that it belongs to."""
    for k in range(rows.shape[0]):
        row = rows[k]
        if row >= 0:
            for c in range(gradients.shape[1]):
                result[row, c] += gradients[k, c]


def _warm_up() -> None:
    add_rows(take_rows(torch.zeros(1, 1), torch.zeros(1, dtype=torch.long)), torch.zeros(1, dtype=torch.long), 1)
