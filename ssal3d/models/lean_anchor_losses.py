"""The losses of an anchor head on the CPU, in a fraction of the time: few anchors have an object."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmdet.models.losses import FocalLoss
from mmdet3d.models.dense_heads.train_mixins import get_direction_target
from mmdet3d.models.task_modules import Max3DIoUAssigner
from mmdet3d.models.task_modules.anchor import Anchor3DRangeGenerator
from mmdet3d.structures import BboxOverlapsNearest3D, LiDARInstance3DBoxes
from mmengine.structures import InstanceData
from torch import Tensor

from ssal3d.models.anchor_targets import IGNORED, assign_anchors
from ssal3d.models.protocol import IGNORE_NEGATIVES
from ssal3d.models.sparse_focal_loss import sparse_focal_loss

EPS = torch.finfo(torch.float32).eps  # mmdet's, beside the number of positive anchors

# Gives the residuals (P, 7) and direction logits (P, 2) of P anchors, by the cell and the kind of each.
OfAnchors = Callable[[Tensor, Tensor], Sequence[Tensor]]


class _Targets(NamedTuple):
    """What the anchors of a frame shall predict.

    Attributes:
        positives: ``(P,)`` anchors with a box.
        ignored: ``(I,)`` anchors whose classes do not count.
        boxes: ``(P, 7)`` box of each positive anchor.
        labels: ``(P,)`` its class.
        weights: ``(P,)`` its weight.
    """

    positives: Tensor
    ignored: Tensor
    boxes: Tensor
    labels: Tensor
    weights: Tensor


class LeanAnchorLosses:
    """What makes an anchor head of MMDetection3D look at boxes and directions of positive anchors only.

    Stands before the head among the bases. The losses are the stock ones. What the shortcut does not cover (several
    levels, other assigners or losses, a GPU) is for the stock code: ask `is_lean`.
    """

    _grids: tuple[Any, Any] = (None, None)

    def lean_losses(
        self: Any,
        logits: Tensor,
        of_anchors: OfAnchors,
        truths: Sequence[InstanceData],
        metas: Sequence[Mapping[str, Any]],
        features: Tensor,
    ) -> dict[str, list[Tensor]]:
        """Return the stock losses of a batch, with weights of boxes as in `ssal3d.models.frame_losses`.

        Args:
            logits: ``(B * H * W * A, C)`` class logits of all anchors.
            of_anchors: Gives what is predicted for some anchors.
            truths: Boxes and labels of each frame, perhaps with ``weights``.
            metas: Metainfo of each frame, perhaps with ``ignore_negatives``.
            features: ``(B, I, H, W)`` map of the level.
        """
        anchors, grid = self._grid(features)
        frames = [self._targets(truth, meta, grid) for truth, meta in zip(truths, metas, strict=True)]
        count = sum(max(len(frame.positives), 1) for frame in frames)
        start = torch.arange(len(frames), device=features.device) * len(anchors)
        positives = torch.cat([first + frame.positives for first, frame in zip(start, frames)])
        ignored = torch.cat([first + frame.ignored for first, frame in zip(start, frames)])
        boxes, labels, weights = (torch.cat(parts) for parts in zip(*(frame[2:] for frame in frames)))
        focal = self.loss_cls
        total = sparse_focal_loss(logits, positives, labels, ignored, focal.alpha, focal.gamma, weights)
        predicted = of_anchors(positives // self.num_anchors, positives % self.num_anchors)
        loss_bbox, loss_dir = self._box_losses(*predicted, anchors[positives % len(anchors)], boxes, weights, count)
        losses = {'loss_cls': [focal.loss_weight * total / (count + EPS)], 'loss_bbox': [loss_bbox]}
        return losses | {'loss_dir': [loss_dir]}

    def _box_losses(
        self: Any, deltas: Tensor, directions: Tensor, anchors: Tensor, boxes: Tensor, own: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        """Return box and direction loss of positive anchors.

        Args:
            deltas: ``(P, 7)`` predicted residuals.
            directions: ``(P, 2)`` predicted direction logits.
            anchors: ``(P, 7)`` the anchors.
            boxes: ``(P, 7)`` the box of each, bottom-centred.
            own: ``(P,)`` the weight of each box; directions have none.
            count: What the sums are divided by.
        """
        if not len(anchors):
            return deltas.sum(), directions.sum()
        targets = self.bbox_coder.encode(anchors, boxes)
        bins = get_direction_target(anchors, targets, self.dir_offset, self.dir_limit_offset, one_hot=False)
        weights = own[:, None].expand_as(targets)
        if self.train_cfg.get('code_weight', None):
            weights = weights * weights.new_tensor(self.train_cfg['code_weight'])
        if self.diff_rad_by_sin:
            deltas, targets = self.add_sin_difference(deltas, targets)
        loss_bbox = self.loss_bbox(deltas, targets, weights, avg_factor=count)
        return loss_bbox, self.loss_dir(directions, bins, torch.ones_like(bins, dtype=deltas.dtype), avg_factor=count)

    def _targets(self: Any, truth: InstanceData, meta: Mapping[str, Any], grid: Tensor) -> '_Targets':
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
        ignored = assigned <= 0 if meta.get(IGNORE_NEGATIVES) else assigned == IGNORED
        weights = truth.get('weights')
        weights = boxes.tensor.new_ones(len(boxes)) if weights is None else weights.to(boxes.tensor)
        return _Targets(
            positives, ignored.nonzero().flatten(), boxes.tensor[numbers], labels[numbers], weights[numbers]
        )

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
