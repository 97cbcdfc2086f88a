"""Operators of mmcv that have no CPU kernel, or a slow one; tensors on other devices keep mmcv's own kernels.

All wrappers of mmcv and MMDetection3D look their kernels up in the extension module `mmcv._ext` when they are called,
so replacing the kernels there reaches every name that was ever imported.
"""

import importlib
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from ssal3d import mmcv_stand_in
from ssal3d.compat.fix import Fix, replace_everywhere
from ssal3d.errors import UserError
from ssal3d.ops.ball_query import ball_query, stacked_ball_query
from ssal3d.ops.grouping import add_rows, gather_points, group_points, grouped_rows, stacked_group_points, stacked_rows
from ssal3d.ops.point_membership import points_in_boxes_all, points_in_boxes_part
from ssal3d.ops.rotated_boxes import box_iou_rotated, nms_rotated, nms_upright
from ssal3d.ops.sampling import furthest_point_sample, furthest_point_sample_with_dist
from ssal3d.ops.scatter import points_to_voxels, points_to_voxels_backward
from ssal3d.ops.voxelize import dynamic_voxelize, hard_voxelize, hard_voxelize_by_sorting

Kernel = Callable[..., Any]


def by_device(on_cpu: Kernel, otherwise: Kernel) -> Kernel:
    """Return a kernel that chooses by the device of its first argument."""

    @wraps(otherwise)
    def choose(first: Tensor, *args: Any, **kwargs: Any) -> Any:
        return (on_cpu if first.device.type == 'cpu' else otherwise)(first, *args, **kwargs)

    return choose


# Below: the signatures of mmcv's extension, which fill a given result. ------------------------------------------------


def _ball_query(centres: Tensor, points: Tensor, result: Tensor, **sizes: Any) -> None:
    result.copy_(ball_query(sizes['min_radius'], sizes['max_radius'], sizes['nsample'], points, centres))


def _stack_ball_query(
    centres: Tensor, centre_counts: Tensor, points: Tensor, point_counts: Tensor, result: Tensor, **sizes: Any
) -> None:
    neighbours = stacked_ball_query(sizes['max_radius'], sizes['nsample'], points, point_counts, centres, centre_counts)
    result.copy_(neighbours)


def _group_points(features: Tensor, indices: Tensor, result: Tensor, **sizes: Any) -> None:
    result.copy_(group_points(features, indices))


def _group_points_backward(gradients: Tensor, indices: Tensor, result: Tensor, **sizes: Any) -> None:
    frames, channels, count = result.shape
    summed = add_rows(gradients.permute(0, 2, 3, 1), grouped_rows(indices, count), frames * count)
    result.copy_(summed.view(frames, count, channels).transpose(1, 2))


def _stack_group_points(
    features: Tensor, feature_counts: Tensor, indices: Tensor, index_counts: Tensor, result: Tensor, **sizes: Any
) -> None:
    result.copy_(stacked_group_points(features, indices, feature_counts, index_counts))


def _stack_group_points_backward(
    gradients: Tensor, indices: Tensor, index_counts: Tensor, feature_counts: Tensor, result: Tensor, **sizes: Any
) -> None:
    rows = stacked_rows(indices, feature_counts, index_counts)
    result.copy_(add_rows(gradients.transpose(1, 2), rows, len(result)))


def _gather_points(features: Tensor, indices: Tensor, result: Tensor, **sizes: Any) -> None:
    result.copy_(gather_points(features, indices))


def _gather_points_backward(gradients: Tensor, indices: Tensor, result: Tensor, **sizes: Any) -> None:
    _group_points_backward(gradients[..., None], indices[..., None], result)


def _sample_with_dist(distances: Tensor, nearest: Tensor, result: Tensor, **sizes: Any) -> None:
    result.copy_(furthest_point_sample_with_dist(distances, sizes['m']))


def _nms_rotated(
    boxes: Tensor, scores: Tensor, order: Tensor, sorted_boxes: Tensor, labels: Tensor, threshold: float, *_: Any
) -> Tensor:
    return nms_rotated(boxes, scores, threshold)  # the labels do not count in mmcv's kernels either


def _box_iou_rotated(boxes_a: Tensor, boxes_b: Tensor, result: Tensor, mode_flag: int, aligned: bool) -> None:
    overlap = box_iou_rotated(boxes_a, boxes_b, mode='iof' if mode_flag else 'iou', aligned=aligned)
    result.copy_(overlap.reshape(-1))


def _hard_voxelize(
    points: Tensor,
    voxel_size: Tensor,
    point_range: Tensor,
    voxels: Tensor,
    coordinates: Tensor,
    counts: Tensor,
    num_voxels: Tensor,
    max_points: int,
    max_voxels: int,
    **_: Any,
) -> None:
    found = hard_voxelize(points, voxel_size.tolist(), point_range.tolist(), max_points, max_voxels)
    num_voxels.fill_(len(found[0]))
    for result, values in zip((voxels, coordinates, counts), found, strict=True):
        result[: len(values)] = values


def _sorted_voxelize(
    points: Tensor,
    voxel_size: Tensor,
    point_range: Tensor,
    voxels: Tensor,
    coordinates: Tensor,
    counts: Tensor,
    num_voxels: Tensor,
    max_points: int,
    max_voxels: int,
    **_: Any,
) -> None:
    found = hard_voxelize_by_sorting(points, voxel_size.tolist(), point_range.tolist(), max_points, max_voxels)
    for result, values in zip((voxels, coordinates, counts, num_voxels), found, strict=True):
        result.copy_(values)


def _dynamic_voxelize(points: Tensor, voxel_size: Tensor, point_range: Tensor, result: Tensor, **_: Any) -> None:
    result.copy_(dynamic_voxelize(points, voxel_size.tolist(), point_range.tolist()))


def _points_to_voxels(features: Tensor, cells: Tensor, reduction: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return points_to_voxels(features, cells, reduction)


def _points_to_voxels_backward(
    result: Tensor, gradients: Tensor, features: Tensor, reduced: Tensor, of_point: Tensor, counts: Tensor, kind: str
) -> None:
    result.copy_(points_to_voxels_backward(gradients, features, reduced, of_point, counts, kind))


def _nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    return nms_upright(boxes, scores, iou_threshold, offset)


# Compiled mmcv has these for CUDA alone, and the ones in _SLOW for the CPU, too; mmcv-lite has none.
_MISSING: dict[str, Kernel] = {
    'ball_query_forward': _ball_query,
    'stack_ball_query_forward': _stack_ball_query,
    'group_points_forward': _group_points,
    'group_points_backward': _group_points_backward,
    'stack_group_points_forward': _stack_group_points,
    'stack_group_points_backward': _stack_group_points_backward,
    'gather_points_forward': _gather_points,
    'gather_points_backward': _gather_points_backward,
    'furthest_point_sampling_with_dist_forward': _sample_with_dist,
    'dynamic_point_to_voxel_forward': _points_to_voxels,
    'dynamic_point_to_voxel_backward': _points_to_voxels_backward,
}
_SLOW: dict[str, Kernel] = {
    'nms': _nms,
    'nms_rotated': _nms_rotated,
    'box_iou_rotated': _box_iou_rotated,
    'hard_voxelize_forward': _hard_voxelize,
    'dynamic_voxelize_forward': _dynamic_voxelize,
}


def _kernels_refuse_cpu() -> bool:
    extension = importlib.import_module('mmcv._ext')
    points, index, result = torch.zeros(1, 1, 1), torch.zeros(1, 1, dtype=torch.int32), torch.zeros(1, 1, 1)
    try:
        extension.gather_points_forward(points, index, result, b=1, c=1, n=1, npoints=1)
    except (RuntimeError, UserError):  # of a CUDA-only kernel, of our stand-in
        return True
    return False


def _install(kernels: dict[str, Kernel]) -> None:
    extension = importlib.import_module('mmcv._ext')
    for name, kernel in kernels.items():
        setattr(extension, name, by_device(kernel, getattr(extension, name)))


def _install_point_operators() -> None:
    from mmcv import ops
    from mmcv.ops.furthest_point_sample import FurthestPointSampling

    _install({**_MISSING, **_SLOW} if mmcv_stand_in.is_used() else _MISSING)
    # These three ask for CUDA before they call their kernels.
    FurthestPointSampling.forward = staticmethod(_sampling_forward(FurthestPointSampling.forward))
    for original, kernel in (
        (ops.points_in_boxes_part, points_in_boxes_part),
        (ops.points_in_boxes_all, points_in_boxes_all),
    ):
        replace_everywhere(original, by_device(kernel, original))


def _sampling_forward(original: Kernel) -> Kernel:
    @wraps(original)
    def forward(ctx: Any, points: Tensor, num_points: int) -> Tensor:
        if points.device.type != 'cpu':
            return original(ctx, points, num_points)
        chosen = furthest_point_sample(points, num_points)
        ctx.mark_non_differentiable(chosen)
        return chosen

    return forward


def _grid_is_dense() -> bool:
    return not mmcv_stand_in.is_used()  # true of every release so far; the test of this preference measures it


def _install_fast_kernels() -> None:
    _install(_SLOW)


def _one_thread_does_it() -> bool:
    return True  # true of every release so far: determin_voxel_num<<<1, 1>>>


def _sort_points_elsewhere() -> None:
    extension: Any = importlib.import_module('mmcv._ext')
    original = extension.hard_voxelize_forward

    @wraps(original)
    def choose(points: Tensor, *args: Any, deterministic: bool = True, **kwargs: Any) -> None:
        elsewhere = points.device.type != 'cpu' and deterministic and len(points) > 0
        (_sorted_voxelize if elsewhere else original)(points, *args, deterministic=deterministic, **kwargs)

    extension.hard_voxelize_forward = choose


def _nothing_is_none() -> bool:
    from mmcv.ops import nms_rotated as original

    return original(torch.zeros(0, 5), torch.zeros(0), 0.5)[1] is None


def _return_no_indices() -> None:
    from mmcv.ops import nms_rotated as original

    @wraps(original)
    def nms_of_any_number(dets: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        kept, indices = original(dets, *args, **kwargs)
        return kept, torch.zeros(0, dtype=torch.long, device=dets.device) if indices is None else indices

    replace_everywhere(original, nms_of_any_number)


FIXES = (
    Fix(
        name='cpu-point-operators',
        problem='Point sampling, ball query, grouping and points in boxes have CUDA kernels only; mmcv-lite has none at all.',
        link='https://github.com/open-mmlab/mmdetection3d/issues/2575',
        needs=('mmcv._ext',),
        is_needed=_kernels_refuse_cpu,
        apply=_install_point_operators,
    ),
    Fix(
        name='nms-of-nothing',
        problem='nms_rotated returns None for the indices of no boxes; indexing with it adds a dimension.',
        link='https://github.com/open-mmlab/mmcv/blob/v2.1.0/mmcv/ops/nms.py#L410',
        needs=('mmcv._ext',),
        is_needed=_nothing_is_none,
        apply=_return_no_indices,
    ),
)
PREFERENCES = (
    Fix(
        name='fast-cpu-boxes-and-voxels',
        problem='Rotated NMS and IoU take 1 microsecond per pair on the CPU; voxelisation clears a dense grid per frame.',
        link='https://github.com/open-mmlab/mmcv/blob/v2.1.0/mmcv/ops/csrc/pytorch/cpu/voxelization.cpp#L138',
        needs=('mmcv._ext',),
        is_needed=_grid_is_dense,
        apply=_install_fast_kernels,
    ),
    Fix(
        name='serial-voxelisation',
        problem='Deterministic voxelisation on CUDA walks all points in one thread and compares each with all before it.',
        link='https://github.com/open-mmlab/mmcv/blob/v2.1.0/mmcv/ops/csrc/common/cuda/voxelization_cuda_kernel.cuh#L80',
        needs=('mmcv._ext',),
        is_needed=_one_thread_does_it,
        apply=_sort_points_elsewhere,
    ),
)
