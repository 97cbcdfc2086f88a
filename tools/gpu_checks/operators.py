"""Every operator that a detector needs: this device against the CPU, in the tolerance that its arithmetic allows."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from benchmarks.train_step import CARS, proposals
from torch import Tensor

from gpu_checks.inputs import two_clouds
from gpu_checks.record import Figures, NotHeldError, Record, require_near

GRID = ([0.05, 0.05, 0.1], [0.0, -40.0, -3.0, 70.4, 40.0, 1.0], 5, 40000)
ROUNDING = 2e-4  # of rotated overlaps, which CUDA computes in single precision


def run(record: Record) -> None:
    """Compare operators.

    Args:
        record: Where results go.
    """
    from mmcv import ops

    from ssal3d.devices import gpu_problem, mmcv_cuda

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    points = two_clouds()[0]
    xyz = points[None, :, :3].contiguous()
    centres = xyz[:, ::10].contiguous()
    boxes, scores = proposals(1024)
    near = boxes + torch.randn(boxes.shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    others = boxes.flip(0) + torch.tensor([0.3, -0.2, 0.1, 0.1, 0.05])
    cars = (torch.tensor(CARS) - torch.tensor([0, 0, 0.05, 0, 0, 0, 0]))[None]  # no face lies exactly on the ground

    def both(operator: Callable[..., Tensor], *tensors: Tensor, at_most: float = 0.0) -> Figures:
        return require_near(
            {'largest difference': (operator(*(x.to(record.device) for x in tensors)), operator(*tensors))}, at_most
        )

    def installed() -> None:
        problem = gpu_problem() if record.on_gpu else None
        if problem or (record.on_gpu and mmcv_cuda() is None):
            raise NotHeldError(problem or 'mmcv is compiled without CUDA')

    record.check('mmcv and spconv serve this device', installed)
    record.check('hard_voxelize', lambda: _voxelisation(record, points))
    record.check('furthest_point_sample of 2048', lambda: _furthest(record, xyz))
    record.check('key points of two frames at once are those of each', lambda: _key_points(record))
    record.check('stacked ball_query, grouping and their gradient', lambda: _stacked(record, xyz[0], centres[0]))
    record.check(
        'ball_query with a batch axis', lambda: both(lambda x, y: ops.ball_query(0.2, 1.2, 16, x, y), xyz, centres)
    )
    record.check('points_in_boxes_part', lambda: both(ops.points_in_boxes_part, xyz, cars))
    record.check('points_in_boxes_all', lambda: both(ops.points_in_boxes_all, xyz, cars))
    for name, other in (('others', others), ('nearly equal boxes', near), ('themselves', boxes)):
        record.check(
            f'box_iou_rotated with {name}',
            lambda other=other: both(ops.box_iou_rotated, boxes[:128], other, at_most=ROUNDING),
        )
    record.check(
        'box_iou_rotated, aligned',
        lambda: both(lambda a, b: ops.box_iou_rotated(a, b, aligned=True), boxes, near, at_most=ROUNDING),
    )
    record.check('nms_rotated', lambda: _suppression(record, boxes, scores))
    record.check('nms_rotated of nothing', lambda: _nothing_left(record, boxes, scores))
    record.check('set abstraction and its gradients', lambda: _set_abstraction(record, points, centres[0]))


def _voxelisation(record: Record, points: Tensor) -> Figures:
    from mmcv.ops.voxelize import voxelization

    there = points.to(record.device)
    expected, found = voxelization(points, *GRID), voxelization(there, *GRID)
    figures = require_near(
        {name: (found[k], expected[k]) for k, name in enumerate(('voxels', 'coordinates', 'counts'))}
    )
    return {**figures, 'ms': record.milliseconds(lambda: voxelization(there, *GRID), 10)}


def _furthest(record: Record, xyz: Tensor) -> Figures:
    """Every choice is the furthest up to rounding: where two points are equally far, devices may choose differently."""
    from mmcv import ops

    there, here = (ops.furthest_point_sample(xyz.to(d), 2048)[0].cpu().long() for d in (record.device, 'cpu'))
    figures = {'the same': float((there == here).double().mean()), 'nearer than the furthest': nearer(xyz[0], there)}
    if figures['nearer than the furthest'] > 1e-5:
        raise NotHeldError(', '.join(f'{name} {value:.3g}' for name, value in figures.items()))
    return figures


def nearer(points: Tensor, chosen: Tensor) -> float:
    """Return by what share a choice was at most nearer (squared distance) than the furthest point at its time.

    Args:
        points: ``(N, 3)`` coordinates.
        chosen: ``(M,)`` indices in the order of their choice.
    """
    # NumPy, because short operators on all cores of a machine took a hundred times as long.
    cloud, order, worst = points.double().numpy(), chosen.tolist(), 0.0
    distance = np.square(cloud - cloud[order[0]]).sum(1)
    for index in order[1:]:
        worst = max(worst, float(1 - distance[index] / distance.max()))
        distance = np.minimum(distance, np.square(cloud - cloud[index]).sum(1))
    return worst


def _key_points(record: Record) -> Figures:
    from mmcv import ops

    from ssal3d.models.fast_layers import key_points_at_once

    there = [cloud.to(record.device) for cloud in two_clouds()]
    chosen = [ops.furthest_point_sample(cloud[None, :, :3].contiguous(), 2048)[0].long() for cloud in there]
    alone = torch.stack([cloud[rows, :3] for cloud, rows in zip(there, chosen, strict=True)])
    figures = require_near({'largest difference': (key_points_at_once(there, 2048), alone)})
    return {
        **figures,
        'ms for two': record.milliseconds(lambda: key_points_at_once(there, 2048), 5),
        'ms for one': record.milliseconds(lambda: key_points_at_once(there[:1], 2048), 5),
    }


def _halves(rows: Tensor, device: torch.device) -> Tensor:
    first = len(rows) // 2
    return torch.tensor([first, len(rows) - first], dtype=torch.int32, device=device)


def _stacked(record: Record, xyz: Tensor, centres: Tensor) -> Figures:
    from mmcv import ops

    def run_on(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        points, around = xyz.to(device), centres.to(device)
        counts = _halves(points, device), _halves(around, device)
        features = points.clone().requires_grad_()
        found = ops.ball_query(0, 1.2, 16, points, around, *counts)
        used = found.clone()
        used[used[:, 0] == -1] = 0
        grouped = ops.grouping_operation(features, used, *counts)
        (grouped * torch.arange(grouped.numel(), device=device).view_as(grouped).remainder(7)).sum().backward()
        assert features.grad is not None
        return found, grouped, features.grad

    there, here = run_on(record.device), run_on(torch.device('cpu'))
    figures = require_near({'indices': (there[0], here[0]), 'grouped': (there[1], here[1])})
    return {**figures, **require_near({'gradient': (there[2], here[2])}, 1e-4)}


def _suppression(record: Record, boxes: Tensor, scores: Tensor) -> Figures:
    from mmcv import ops

    there, here = (set(ops.nms_rotated(boxes.to(d), scores.to(d), 0.7)[1].tolist()) for d in (record.device, 'cpu'))
    if len(there ^ here) > 2:  # an overlap at the threshold may round either way
        raise NotHeldError(f'{len(there ^ here)} of {len(here)} boxes differ')
    many = [part.to(record.device) for part in proposals(9000 if record.on_gpu else 900)]
    return {
        'kept': len(here),
        'differ': len(there ^ here),
        'ms of 9000': record.milliseconds(lambda: ops.nms_rotated(*many, 0.8), 3),
    }


def _nothing_left(record: Record, boxes: Tensor, scores: Tensor) -> None:
    from mmcv import ops

    kept = ops.nms_rotated(boxes[:0].to(record.device), scores[:0].to(record.device), 0.7)[1]
    if tuple(kept.shape) != (0,):
        raise NotHeldError(f'indices of shape {tuple(kept.shape)}')


def _set_abstraction(record: Record, points: Tensor, centres: Tensor) -> Figures:
    from ssal3d.models.fast_layers import FastSetAbstraction

    torch.manual_seed(0)
    layer = FastSetAbstraction(4, [1.2], [16], [[16, 16]]).train()

    def run_on(device: torch.device) -> dict[str, Tensor]:
        own = copy.deepcopy(layer).to(device)
        features = points[:, :4].to(device).requires_grad_()
        xyz, around = points[:, :3].contiguous().to(device), centres.to(device)
        pooled = own(xyz, _halves(xyz, device), around, _halves(around, device), features)[1]
        pooled.square().sum().backward()
        first = own.mlps[0][0]
        assert features.grad is not None
        return {
            'pooled': pooled,
            'gradient': features.grad,
            'of weights': first.conv.weight.grad,
            'variance': first.bn.running_var,
        }

    there, here = run_on(record.device), run_on(torch.device('cpu'))
    return require_near({name: (there[name], here[name]) for name in here}, 1e-3)
