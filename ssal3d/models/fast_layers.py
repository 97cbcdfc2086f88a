"""Layers of MMDetection3D that are needlessly slow, computed in another way; the results are the same up to rounding.

Our PV-RCNN has them; `use_fast_layers`, which our runner calls, gives them to any detector. The layers of other models
in the same process stay as they are.
"""

from typing import Any

import torch
from mmcv.ops import ball_query, grouping_operation
from mmdet3d.models.dense_heads import PartA2RPNHead
from mmdet3d.models.layers.pointnet_modules.stack_point_sa_module import StackedSAModuleMSG, StackQueryAndGroup
from mmdet3d.models.middle_encoders import VoxelSetAbstraction
from mmdet3d.models.roi_heads.bbox_heads import PVRCNNBBoxHead
from mmdet3d.models.task_modules.anchor import AlignedAnchor3DRangeGenerator, Anchor3DRangeGenerator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ssal3d.ops.rotated_boxes import nms_rotated
from ssal3d.ops.set_abstraction import set_abstraction


class FastSetAbstraction(StackedSAModuleMSG):
    """Set abstraction that computes each neighbour once on the CPU, not as often as padding repeats it."""

    def forward(
        self, xyz: Tensor, xyz_batch_cnt: Tensor, new_xyz: Tensor, new_xyz_batch_cnt: Tensor, features: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Pool the features of the neighbours of each centre.

        Args:
            xyz: ``(N, 3)`` points of all frames, frame by frame.
            xyz_batch_cnt: ``(B,)`` points of each frame.
            new_xyz: ``(M, 3)`` centres.
            new_xyz_batch_cnt: ``(B,)`` centres of each frame.
            features: ``(N, C)`` features of the points.

        Returns:
            The centres and their ``(M, D)`` features.
        """
        if not self._is_plain(xyz, new_xyz, features):
            return super().forward(xyz, xyz_batch_cnt, new_xyz, new_xyz_batch_cnt, features)
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

    def _is_plain(self, points: Tensor, centres: Tensor, features: Any) -> bool:
        """Whether input and layers are those that `set_abstraction` computes."""
        return (
            isinstance(features, Tensor)
            and features.device.type == 'cpu'
            and features.dtype in (torch.float32, torch.float64)
            and not torch.is_autocast_enabled('cpu')
            and not (points.requires_grad or centres.requires_grad)
            and len(centres) > 0
            and self.pool_mod == 'max'
            and all(grouper.use_xyz for grouper in self.groupers)
            and all(_is_plain_layer(layer) for network in self.mlps for layer in network)
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


class FastQueryAndGroup(StackQueryAndGroup):
    """Neighbours of each centre without waiting for the device; stock waits five times, to check counts and to fill."""

    def forward(
        self,
        xyz: Tensor,
        xyz_batch_cnt: Tensor,
        new_xyz: Tensor,
        new_xyz_batch_cnt: Tensor,
        features: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Gather neighbours.

        Args:
            xyz: ``(N, 3)`` points of all frames, frame by frame.
            xyz_batch_cnt: ``(B,)`` points of each frame.
            new_xyz: ``(M, 3)`` centres.
            new_xyz_batch_cnt: ``(B,)`` centres of each frame.
            features: ``(N, C)`` features of the points.

        Returns:
            ``(M, 3 + C, K)`` offsets from the centre and features, zeros where a centre has no neighbour, and the
            ``(M, K)`` numbers of the neighbours in their frame.
        """
        counts = xyz_batch_cnt, new_xyz_batch_cnt
        rows = ball_query(0, self.radius, self.sample_nums, xyz, new_xyz, *counts)
        alone = rows[:, :1] == -1
        rows = rows.masked_fill(alone, 0)
        grouped = grouping_operation(xyz, rows, *counts) - new_xyz[..., None]
        if features is not None:
            taken = grouping_operation(features, rows, *counts)
            grouped = torch.cat((grouped, taken), dim=1) if self.use_xyz else taken
        return grouped.masked_fill_(alone[..., None], 0), rows


class FastVoxelSetAbstraction(VoxelSetAbstraction):
    """Key points of all frames chosen by one kernel; frame by frame, most of a GPU waits."""

    def sample_key_points(self, points: list[Tensor], coors: Tensor) -> Tensor:
        """Choose the furthest points of every frame.

        Args:
            points: ``(N, C)`` points of each frame.
            coors: ``(V, 4)`` voxels, where their centres are the points to choose from.

        Returns:
            ``(B, K, 3)`` key points.
        """
        count = self.num_keypoints
        on_cpu = self.voxel_center_as_source or points[0].device.type == 'cpu'
        # Below 1024 points the kernel works with fewer threads, which settles ties in another order.
        if on_cpu or min(map(len, points)) < max(count, 1024):
            return super().sample_key_points(points, coors)
        return key_points_at_once(points, count)


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
    rows = [torch.cat((cloud[:, :3], cloud[:1, :3].expand(most - len(cloud), 3))) for cloud in points]
    clouds = torch.stack(rows).contiguous()
    chosen = furthest_point_sample(clouds, count).long()
    return clouds.gather(1, chosen[..., None].expand(-1, -1, 3))


def one_product(head: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return class, box and direction maps of an anchor head: its three 1 x 1 convolutions as one matrix product.

    Args:
        head: An `Anchor3DHead`.
        x: ``(B, I, H, W)`` feature map.
    """
    layers = [head.conv_cls, head.conv_reg, *([head.conv_dir_cls] if head.use_direction_classifier else [])]
    weight = torch.cat([layer.weight.flatten(1) for layer in layers])
    outputs = F.linear(x.permute(0, 2, 3, 1), weight, torch.cat([layer.bias for layer in layers]))
    maps = outputs.permute(0, 3, 1, 2).split([layer.out_channels for layer in layers], dim=1)
    return (*maps, None)[:3]


class FastPartA2RPNHead(PartA2RPNHead):
    """Proposal head of one product that stops suppression on the CPU when it has enough boxes: 512 of 9000."""

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return class, box and direction maps of a level.

        Args:
            x: ``(B, I, H, W)`` feature map.
        """
        return one_product(self, x) if x.device.type == 'cpu' else super().forward_single(x)

    def class_agnostic_nms(
        self,
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
        """Return the proposals of a frame.

        Args:
            mlvl_bboxes: ``(N, 7)`` candidates.
            mlvl_bboxes_for_nms: ``(N, 5)`` their rectangles in bird's-eye view.
            mlvl_max_scores: ``(N,)`` highest class scores.
            mlvl_label_pred: ``(N,)`` their classes.
            mlvl_cls_score: ``(N, C)`` class scores.
            mlvl_dir_scores: ``(N,)`` directions.
            score_thr: Lowest score of a proposal.
            cfg: Settings of the suppression.
            input_meta: Of the frame.
        """
        parts = [mlvl_bboxes, mlvl_bboxes_for_nms, mlvl_max_scores, mlvl_label_pred, mlvl_cls_score, mlvl_dir_scores]
        if mlvl_bboxes.device.type == 'cpu' and cfg.use_rotate_nms:
            # Suppressing the survivors once more drops none of them, so the stock head gives the same result from here.
            survivors = first_survivors(mlvl_bboxes_for_nms, mlvl_max_scores, score_thr, cfg.nms_thr, cfg.nms_post)
            parts = [part[survivors] for part in parts]
        return super().class_agnostic_nms(*parts, score_thr, cfg, input_meta)


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


class PointwiseConv2d(nn.Conv2d):
    """A 1 x 1 convolution that is computed as a matrix product for 1 x 1 images on the CPU; the same parameters."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.device.type == 'cpu' and input.shape[2:] == (1, 1) and self.stride == (1, 1) and self.groups == 1:
            return F.linear(input.flatten(1), weight.flatten(1), bias)[..., None, None]
        return super()._conv_forward(input, weight, bias)


class RememberedAnchors(Anchor3DRangeGenerator):
    """Anchors that are made once for each size of the map, not for every loss and every prediction."""

    _remembered: tuple[Any, list[Tensor]] = (None, [])

    def grid_anchors(self, featmap_sizes: Any, device: Any = 'cuda') -> list[Tensor]:
        """Return the anchors of every level.

        Args:
            featmap_sizes: Rows and columns of each level.
            device: Where they go.
        """
        key = tuple(map(tuple, featmap_sizes)), str(device)
        if self._remembered[0] != key:
            self._remembered = key, super().grid_anchors(featmap_sizes, device)
        return list(self._remembered[1])


class RememberedAlignedAnchors(RememberedAnchors, AlignedAnchor3DRangeGenerator):
    """The same for anchors in the middle of the cells."""


FAST: dict[type, type] = {
    StackedSAModuleMSG: FastSetAbstraction,
    StackQueryAndGroup: FastQueryAndGroup,
    VoxelSetAbstraction: FastVoxelSetAbstraction,
    PartA2RPNHead: FastPartA2RPNHead,
    Anchor3DRangeGenerator: RememberedAnchors,
    AlignedAnchor3DRangeGenerator: RememberedAlignedAnchors,
}


def use_fast_layers(model: nn.Module) -> None:
    """Let the layers of a model that are exactly of a class in `FAST` compute as its fast subclass does.

    Parameters, buffers and their names stay. In PV-RCNN's box head, 1 x 1 convolutions become `PointwiseConv2d`.
    """
    for module in model.modules():
        for part in (module, getattr(module, 'prior_generator', None)):
            if type(part) in FAST:
                part.__class__ = FAST[type(part)]
        if isinstance(module, PVRCNNBBoxHead):
            for layer in module.modules():
                if type(layer) is nn.Conv2d and layer.kernel_size == (1, 1):
                    layer.__class__ = PointwiseConv2d
