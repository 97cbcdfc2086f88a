"""Modules of MMDetection3D that are needlessly slow; the results are the same up to float rounding."""

import inspect
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ssal3d.compat.fix import Fix
from ssal3d.ops.rotated_boxes import nms_rotated
from ssal3d.ops.set_abstraction import set_abstraction


def _all_repetitions_are_computed() -> bool:
    return True  # true of every release so far; the test of this fix measures it


def _compute_neighbours_once() -> None:
    from mmdet3d.models.layers.pointnet_modules.stack_point_sa_module import StackedSAModuleMSG

    forward = StackedSAModuleMSG.forward

    @wraps(forward)
    def forward_by_device(
        self: Any, xyz: Tensor, xyz_batch_cnt: Tensor, new_xyz: Tensor, new_xyz_batch_cnt: Tensor, features: Any = None
    ) -> tuple[Tensor, Tensor]:
        if not _is_plain(self, xyz, new_xyz, features):
            return forward(self, xyz, xyz_batch_cnt, new_xyz, new_xyz_batch_cnt, features)
        pooled = [
            set_abstraction(
                xyz,
                xyz_batch_cnt,
                new_xyz,
                new_xyz_batch_cnt,
                features,
                grouper.radius,
                grouper.sample_nums,
                [(layer.conv.weight.flatten(1), layer.norm) for layer in network],
            )
            for grouper, network in zip(self.groupers, self.mlps, strict=True)
        ]
        return new_xyz, torch.cat(pooled, dim=1)

    StackedSAModuleMSG.forward = forward_by_device


def _is_plain(module: Any, points: Tensor, centres: Tensor, features: Any) -> bool:
    """Whether the input and the layers of a set abstraction module are those that `set_abstraction` computes."""
    return (
        isinstance(features, Tensor)
        and features.device.type == 'cpu'
        and features.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled('cpu')
        and not (points.requires_grad or centres.requires_grad)
        and len(centres) > 0
        and module.pool_mod == 'max'
        and all(grouper.use_xyz for grouper in module.groupers)
        and all(_is_plain_layer(layer) for network in module.mlps for layer in network)
    )


def _is_plain_layer(layer: Any) -> bool:
    norm = getattr(layer, 'norm', None)
    hooks = [part._forward_hooks or part._forward_pre_hooks for part in layer.modules()]
    return (
        layer.order == ('conv', 'norm', 'act')
        and layer.conv.bias is None
        and layer.conv.kernel_size == (1, 1)
        and type(norm) is nn.BatchNorm2d
        and norm.affine
        and norm.track_running_stats
        and isinstance(getattr(layer, 'activate', None), nn.ReLU)
        and not any(hooks)
    )


def _all_proposals_are_suppressed() -> bool:
    return True  # true of every release so far; the test of this fix measures it


def _suppress_until_enough() -> None:
    from mmdet3d.models.dense_heads import PartA2RPNHead

    original = PartA2RPNHead.class_agnostic_nms

    @wraps(original)
    def nms_of_survivors(
        self: Any,
        mlvl_bboxes: Tensor,
        mlvl_bboxes_for_nms: Tensor,
        mlvl_max_scores: Tensor,
        mlvl_label_pred: Tensor,
        mlvl_cls_score: Tensor,
        mlvl_dir_scores: Tensor,
        score_thr: float,
        cfg: Any,
        input_meta: dict,
    ) -> Any:
        parts = [mlvl_bboxes, mlvl_bboxes_for_nms, mlvl_max_scores, mlvl_label_pred, mlvl_cls_score, mlvl_dir_scores]
        if mlvl_bboxes.device.type == 'cpu' and cfg.use_rotate_nms:
            # The survivors alone all survive again, so the original goes on from here with the same result.
            survivors = first_survivors(mlvl_bboxes_for_nms, mlvl_max_scores, score_thr, cfg.nms_thr, cfg.nms_post)
            parts = [part[survivors] for part in parts]
        return original(self, *parts, score_thr, cfg, input_meta)

    PartA2RPNHead.class_agnostic_nms = nms_of_survivors


def first_survivors(boxes: Tensor, scores: Tensor, min_score: float, threshold: float, max_kept: int) -> Tensor:
    """Return the indices of the best boxes that non-maximum suppression keeps.

    Args:
        boxes: ``(N, 5)`` boxes as left, lower, right, upper (before rotation) and angle.
        scores: ``(N,)`` scores.
        min_score: Only boxes with a higher score take part.
        threshold: IoU above which the lower score is dropped.
        max_kept: How many to return at most.
    """
    candidates = (scores > min_score).nonzero().view(-1)
    left, lower, right, upper, angle = boxes[candidates].unbind(1)
    centred = torch.stack(((left + right) / 2, (lower + upper) / 2, right - left, upper - lower, angle), dim=-1)
    return candidates[nms_rotated(centred, scores[candidates], threshold, max_kept)]


def _layers_are_convolutions() -> bool:
    from mmdet3d.models.roi_heads.bbox_heads import PVRCNNBBoxHead

    return "conv_cfg=dict(type='Conv2d')" in inspect.getsource(PVRCNNBBoxHead)


def _multiply_instead() -> None:
    from mmdet3d.models.roi_heads.bbox_heads import PVRCNNBBoxHead

    init = PVRCNNBBoxHead.__init__

    @wraps(init)
    def init_with_products(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        for module in self.modules():
            if type(module) is nn.Conv2d and module.kernel_size == (1, 1):
                module.__class__ = PointwiseConv2d

    PVRCNNBBoxHead.__init__ = init_with_products


class PointwiseConv2d(nn.Conv2d):
    """A 1 x 1 convolution that is computed as a matrix product for 1 x 1 images on the CPU; the same parameters."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.device.type == 'cpu' and input.shape[2:] == (1, 1) and self.stride == (1, 1) and self.groups == 1:
            return F.linear(input.flatten(1), weight.flatten(1), bias)[..., None, None]
        return super()._conv_forward(input, weight, bias)


def _frames_are_sampled_in_turn() -> bool:
    from mmdet3d.models.middle_encoders import VoxelSetAbstraction

    return 'for points_to_sample in src_points' in inspect.getsource(VoxelSetAbstraction.sample_key_points)


def _sample_all_frames_at_once() -> None:
    from mmdet3d.models.middle_encoders import VoxelSetAbstraction

    original = VoxelSetAbstraction.sample_key_points

    @wraps(original)
    def sample_by_device(self: Any, points: list[Tensor], coors: Tensor) -> Tensor:
        wanted = self.num_keypoints
        on_cpu = self.voxel_center_as_source or points[0].device.type == 'cpu'
        # Below 1024 points the kernel works with fewer threads, which settles ties in another order.
        if on_cpu or min(map(len, points)) < max(wanted, 1024):
            return original(self, points, coors)
        return key_points_at_once(points, wanted)

    VoxelSetAbstraction.sample_key_points = sample_by_device


def key_points_at_once(points: list[Tensor], count: int) -> Tensor:
    """Choose the furthest points of several frames by one kernel, which takes a frame per block.

    Args:
        points: ``(N, C)`` points of each frame, not fewer than ``count``.
        count: Number of key points.

    Returns:
        ``(B, count, 3)`` key points.
    """
    from mmcv.ops import furthest_point_sample

    most = max(map(len, points))
    # Copies of the first point, which is always chosen first, are never further away than any other point.
    rows = [torch.cat((own[:, :3], own[:1, :3].expand(most - len(own), 3))) for own in points]
    clouds = torch.stack(rows).contiguous()
    chosen = furthest_point_sample(clouds, count).long()
    return clouds.gather(1, chosen[..., None].expand(-1, -1, 3))


def _anchors_are_made_anew() -> bool:
    return True  # true of every release so far; the test of this fix shows it


def _remember_anchors() -> None:
    from mmdet3d.models.task_modules.anchor import AlignedAnchor3DRangeGenerator

    original = AlignedAnchor3DRangeGenerator.grid_anchors

    @wraps(original)
    def remembered(self: Any, featmap_sizes: Any, device: Any = 'cuda') -> list[Tensor]:
        key = tuple(map(tuple, featmap_sizes)), str(device)
        if self.__dict__.get('_remembered', (None,))[0] != key:
            self._remembered = key, original(self, featmap_sizes, device)
        return list(self._remembered[1])

    AlignedAnchor3DRangeGenerator.grid_anchors = remembered


FIXES = (
    Fix(
        name='fast-cpu-set-abstraction',
        problem='Set abstraction computes each neighbour as often as padding repeats it: most of a PV-RCNN step on the CPU.',
        link='https://github.com/open-mmlab/mmdetection3d/blob/v1.4.0/mmdet3d/models/layers/pointnet_modules/stack_point_sa_module.py',
        needs=('mmdet3d', 'mmcv._ext'),
        is_needed=_all_repetitions_are_computed,
        apply=_compute_neighbours_once,
    ),
    Fix(
        name='fast-cpu-proposals',
        problem='The proposal head suppresses all 9000 candidates and then keeps 512: 0.1 s per frame on the CPU.',
        link='https://github.com/open-mmlab/mmdetection3d/blob/v1.4.0/mmdet3d/models/dense_heads/parta2_rpn_head.py#L247',
        needs=('mmdet3d', 'mmcv._ext'),
        is_needed=_all_proposals_are_suppressed,
        apply=_suppress_until_enough,
    ),
    Fix(
        name='fast-cpu-roi-head',
        problem='The fully connected layers of the RoI head are 1 x 1 convolutions: 3 to 7 times slower than products.',
        link='https://github.com/open-mmlab/mmdetection3d/blob/v1.4.0/mmdet3d/models/roi_heads/bbox_heads/pv_rcnn_bbox_head.py',
        needs=('mmdet3d', 'mmcv._ext'),
        is_needed=_layers_are_convolutions,
        apply=_multiply_instead,
    ),
    Fix(
        name='frames-sampled-in-turn',
        problem='Key points are chosen frame by frame, each in one block of threads while the rest of a GPU waits.',
        link='https://github.com/open-mmlab/mmdetection3d/blob/v1.4.0/mmdet3d/models/middle_encoders/voxel_set_abstraction.py#L220',
        needs=('mmdet3d', 'mmcv._ext'),
        is_needed=_frames_are_sampled_in_turn,
        apply=_sample_all_frames_at_once,
    ),
    Fix(
        name='anchors-made-anew',
        problem='The same anchors are computed anew, with copies from the host, for every loss and every prediction.',
        link='https://github.com/open-mmlab/mmdetection3d/blob/v1.4.0/mmdet3d/models/task_modules/anchor/anchor_3d_generator.py#L92',
        needs=('mmdet3d', 'mmcv._ext'),
        is_needed=_anchors_are_made_anew,
        apply=_remember_anchors,
    ),
)
