"""The losses of an anchor head on the CPU, in a fraction of the time: few anchors have an object."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.models.losses import FocalLoss
from mmdet3d.models.dense_heads.train_mixins import get_direction_target
from mmdet3d.models.task_modules import Max3DIoUAssigner
from mmdet3d.models.task_modules.anchor import Anchor3DRangeGenerator
from mmdet3d.structures import BboxOverlapsNearest3D, LiDARInstance3DBoxes
from mmengine.structures import InstanceData
from torch import Tensor

from ssal3d.models.anchor_targets import IGNORED, assign_anchors
from ssal3d.models.sparse_focal_loss import sparse_focal_loss

EPS = torch.finfo(torch.float32).eps  # mmdet's, beside the number of positive anchors

# Gives the residuals (P, 7) and direction logits (P, 2) of P anchors, by the cell and the kind of each.
OfAnchors = Callable[[Tensor, Tensor], Sequence[Tensor]]


class LeanAnchorLosses:
    """What makes an anchor head of MMDetection3D look at boxes and directions of positive anchors only.

    Stands before the head among the bases. The losses are the stock ones. What the shortcut does not cover (several
    levels, other assigners or losses, a GPU) is for the stock code: ask `is_lean`.
    """

    _grids: tuple[Any, Any] = (None, None)

    def lean_losses(
        self: Any, logits: Tensor, of_anchors: OfAnchors, truths: Sequence[InstanceData], features: Tensor
    ) -> dict[str, list[Tensor]]:
        """Return the stock losses of a batch.

        Args:
            logits: ``(B * H * W * A, C)`` class logits of all anchors.
            of_anchors: Gives what is predicted for some anchors.
            truths: Boxes and labels of each frame.
            features: ``(B, I, H, W)`` map of the level.
        """
        anchors, grid = self._grid(features)
        targets = [self._targets(truth, grid) for truth in truths]
        count = sum(max(len(positives), 1) for positives, *_ in targets)
        start = torch.arange(len(targets), device=features.device) * len(anchors)
        positives = torch.cat([first + rows for first, (rows, *_) in zip(start, targets)])
        ignored = torch.cat([first + rows for first, (*_, rows) in zip(start, targets)])
        boxes, labels = torch.cat([boxes for _, boxes, *_ in targets]), torch.cat([labels for *_, labels, _ in targets])
        focal = self.loss_cls
        total = sparse_focal_loss(logits, positives, labels, ignored, focal.alpha, focal.gamma)
        predicted = of_anchors(positives // self.num_anchors, positives % self.num_anchors)
        loss_bbox, loss_dir = self._box_losses(*predicted, anchors[positives % len(anchors)], boxes, count)
        losses = {'loss_cls': [focal.loss_weight * total / (count + EPS)], 'loss_bbox': [loss_bbox]}
        return losses | {'loss_dir': [loss_dir]}

    def _box_losses(
        self: Any, deltas: Tensor, directions: Tensor, anchors: Tensor, boxes: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        """Return box and direction loss of positive anchors.

        Args:
            deltas: ``(P, 7)`` predicted residuals.
            directions: ``(P, 2)`` predicted direction logits.
            anchors: ``(P, 7)`` the anchors.
            boxes: ``(P, 7)`` the box of each, bottom-centred.
            count: What the sums are divided by.
        """
        if not len(anchors):
            return deltas.sum(), directions.sum()
        targets = self.bbox_coder.encode(anchors, boxes)
        bins = get_direction_target(anchors, targets, self.dir_offset, self.dir_limit_offset, one_hot=False)
        weights = torch.ones_like(targets)
        if self.train_cfg.get('code_weight', None):
            weights = weights * weights.new_tensor(self.train_cfg['code_weight'])
        if self.diff_rad_by_sin:
            deltas, targets = self.add_sin_difference(deltas, targets)
        loss_bbox = self.loss_bbox(deltas, targets, weights, avg_factor=count)
        return loss_bbox, self.loss_dir(directions, bins, torch.ones_like(bins, dtype=deltas.dtype), avg_factor=count)

    def _targets(self: Any, truth: InstanceData, grid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return a frame's positive anchors (P,), their boxes (P, 7) and labels (P,), and its ignored anchors."""
        boxes, labels = truth.bboxes_3d, truth.labels_3d
        assigned = torch.from_numpy(
            assign_anchors(
                grid.numpy(),
                boxes.nearest_bev.numpy(),
                labels.numpy(),
                [(rule.pos_iou_thr, rule.neg_iou_thr, rule.min_pos_iou) for rule in self.bbox_assigner],
                self.assign_per_class,
            ).reshape(-1)
        )
        positives = (assigned > 0).nonzero().flatten()
        numbers = assigned[positives].long() - 1
        return positives, boxes.tensor[numbers], labels[numbers], (assigned == IGNORED).nonzero().flatten()

    def _grid(self: Any, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return a level's anchors as ``(N, 7)`` and, without rotation, as ``(H, W, S, R, 4)`` edges."""
        size = features.shape[-2:]
        if self._grids[0] != size:
            anchors = self.prior_generator.grid_anchors([size], device=features.device)[0]
            sizes, rotations = anchors.shape[-3:-1]
            edges = LiDARInstance3DBoxes(anchors.reshape(-1, 7)).nearest_bev
            self._grids = size, (anchors.reshape(-1, 7), edges.reshape(*size, sizes, rotations, 4).contiguous())
        return self._grids[1]

    def is_lean(self: Any, maps: Sequence[Tensor]) -> bool:
        """Return whether the lean way computes what the stock head would.

        Args:
            maps: Those of the levels.
        """
        assigners = getattr(self, 'bbox_assigner', None)
        return (
            len(maps) == 1
            and maps[0].device.type == 'cpu'
            and maps[0].dtype == torch.float32
            and isinstance(self.prior_generator, Anchor3DRangeGenerator)
            and not self.prior_generator.reshape_out
            and not self.prior_generator.custom_values
            and self.box_code_size == 7
            and self.use_direction_classifier
            and type(self.loss_cls) is FocalLoss
            and self.loss_cls.reduction == 'mean'
            and not self.loss_cls.activated
            and self.train_cfg.get('pos_weight', -1) <= 0
            and isinstance(assigners, list)
            and all(_is_plain(rule) for rule in assigners)
        )


def of_kind(outputs: Tensor, kind: Tensor, kinds: int) -> Tensor:
    """Return the ``(P, O)`` values of one of each cell's anchors, given ``(P, kinds * O)`` values of P cells.

    >>> of_kind(torch.arange(8).reshape(2, 4), torch.tensor([1, 0]), 2).tolist()
    [[2, 3], [4, 5]]
    """
    rows = torch.arange(len(outputs), device=outputs.device)
    return outputs.reshape(len(outputs), kinds, outputs.shape[1] // kinds)[rows, kind]


def _is_plain(rule: Any) -> bool:
    return (
        type(rule) is Max3DIoUAssigner
        and isinstance(rule.iou_calculator, BboxOverlapsNearest3D)
        and isinstance(rule.neg_iou_thr, float)
        and rule.ignore_iof_thr <= 0 < rule.min_pos_iou
        and rule.match_low_quality
        and rule.gt_max_assign_all
    )
