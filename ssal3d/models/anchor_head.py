"""SECOND's and PointPillars' head with the class logits of its boxes, and a lean way to train it on the CPU."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.losses import FocalLoss
from mmdet3d.models.dense_heads import Anchor3DHead
from mmdet3d.models.dense_heads.train_mixins import get_direction_target
from mmdet3d.models.layers import box3d_multiclass_nms
from mmdet3d.models.task_modules import Max3DIoUAssigner
from mmdet3d.models.task_modules.anchor import Anchor3DRangeGenerator
from mmdet3d.registry import MODELS
from mmdet3d.structures import BboxOverlapsNearest3D, LiDARInstance3DBoxes, limit_period, xywhr2xyxyr
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional

from ssal3d.errors import UserError
from ssal3d.models.anchor_targets import IGNORED, assign_anchors
from ssal3d.models.frame_losses import WeightedAnchorTargets
from ssal3d.models.gradients import anchor_score_derivatives, outer_product_sums
from ssal3d.models.sparse_focal_loss import sparse_focal_loss

EPS = torch.finfo(torch.float32).eps  # mmdet's, beside the number of positive anchors


@MODELS.register_module()
class ActiveAnchor3DHead(WeightedAnchorTargets, Anchor3DHead):
    """Anchor head whose results carry one-vs-all class logits as ``class_logits`` (N, C).

    On the CPU its three 1 x 1 convolutions are one matrix product, and training looks at boxes and directions of
    positive anchors only: the stock losses in a fraction of the time. What this shortcut does not cover (several
    levels, other assigners or losses) uses the stock code.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._grids: dict[Any, tuple[Tensor, Tensor]] = {}
        if not self.use_sigmoid_cls:
            raise UserError(
                'ActiveAnchor3DHead: found loss_cls.use_sigmoid=False, but the column class_logits holds one-vs-all '
                "logits; use loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True), or the stock Anchor3DHead"
            )

    # Forward

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return class, box and direction maps of a level, as the stock head does.

        Args:
            x: ``(B, I, H, W)`` feature map.
        """
        if x.device.type != 'cpu':
            return super().forward_single(x)
        layers = [self.conv_cls, self.conv_reg, *([self.conv_dir_cls] if self.use_direction_classifier else [])]
        weight = torch.cat([layer.weight.flatten(1) for layer in layers])
        outputs = functional.linear(x.permute(0, 2, 3, 1), weight, torch.cat([layer.bias for layer in layers]))
        maps = outputs.permute(0, 3, 1, 2).split([layer.out_channels for layer in layers], dim=1)
        return (*maps, None)[:3]

    # Prediction

    def _predict_by_feat_single(
        self,
        cls_score_list: list[Tensor],
        bbox_pred_list: list[Tensor],
        dir_cls_pred_list: list[Tensor],
        mlvl_priors: list[Tensor],
        input_meta: dict,
        cfg: Any,
        rescale: bool = False,
    ) -> InstanceData:
        """Return the stock results of a frame; each box carries its row through the suppression."""
        cfg = self.test_cfg if cfg is None else cfg
        levels = zip(cls_score_list, bbox_pred_list, dir_cls_pred_list, mlvl_priors)
        kept = [self._best_anchors(*level, cfg.get('nms_pre', -1)) for level in levels]
        logits, boxes, directions = (torch.cat(parts) for parts in zip(*kept))
        to_suppress = xywhr2xyxyr(input_meta['box_type_3d'](boxes, box_dim=self.box_code_size).bev)
        scores = functional.pad(logits.sigmoid(), (0, 1))  # a column for the background
        rows = torch.arange(len(boxes), device=boxes.device)
        boxes, scores, labels, directions, rows = box3d_multiclass_nms(
            boxes, to_suppress, scores, cfg.get('score_thr', 0), cfg.max_num, cfg, directions, rows
        )
        if len(boxes):
            turned = limit_period(boxes[:, 6] - self.dir_offset, self.dir_limit_offset, torch.pi)
            boxes[:, 6] = turned + self.dir_offset + torch.pi * directions.to(boxes.dtype)
        return InstanceData(
            bboxes_3d=input_meta['box_type_3d'](boxes, box_dim=self.box_code_size),
            scores_3d=scores,
            labels_3d=labels,
            class_logits=logits[rows.long()],
        )

    def _best_anchors(
        self, cls_score: Tensor, bbox_pred: Tensor, dir_cls_pred: Tensor, priors: Tensor, most: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (K, C), decoded boxes (K, 7) and direction bins (K,) of a level's best anchors."""
        logits = cls_score.permute(1, 2, 0).reshape(-1, self.num_classes)
        deltas = bbox_pred.permute(1, 2, 0).reshape(-1, self.box_code_size)
        directions = dir_cls_pred.permute(1, 2, 0).reshape(-1, 2)
        if 0 < most < len(logits):
            best = logits.sigmoid().amax(1).topk(most).indices
            logits, deltas, directions, priors = logits[best], deltas[best], directions[best], priors[best]
        return logits, self.bbox_coder.decode(priors, deltas), directions.argmax(1)

    def score_gradients(self, maps: Sequence[Tensor], projection: int | None, seed: int) -> Tensor:
        """Return the gradient of the convolution that classifies anchors (BADGE), one row per frame.

        Args:
            maps: ``(B, C, H, W)`` feature maps that the head reads.
            projection: See `ssal3d.models.gradients.outer_product_sums`.
            seed: Seed of the projection.
        """
        total: Any = 0
        for level in maps:
            pieces = anchor_score_derivatives(self, level)
            cells = torch.arange(len(pieces[0]), device=level.device).chunk(len(level))
            total = total + outer_product_sums(*pieces, cells, projection, seed)
        return total

    # Training

    def loss(self, x: Sequence[Tensor], batch_data_samples: Sequence[Any], **kwargs: Any) -> dict[str, list[Tensor]]:
        """Return the stock losses of a batch.

        Args:
            x: Feature maps.
            batch_data_samples: One per frame, with ``gt_instances_3d``.
            **kwargs: As in the stock head.
        """
        if not self._is_lean(x):
            return super().loss(x, batch_data_samples, **kwargs)
        anchors, grid = self._grid(x[0])
        cells = x[0].permute(0, 2, 3, 1).reshape(-1, x[0].shape[1])
        logits = functional.linear(cells, self.conv_cls.weight.flatten(1), self.conv_cls.bias)
        targets = [self._targets(sample.gt_instances_3d, grid) for sample in batch_data_samples]
        count = sum(max(len(positives), 1) for positives, *_ in targets)
        start = torch.arange(len(targets), device=cells.device) * len(anchors)
        positives = torch.cat([first + rows for first, (rows, *_) in zip(start, targets)])
        ignored = torch.cat([first + rows for first, (*_, rows) in zip(start, targets)])
        boxes, labels = torch.cat([boxes for _, boxes, *_ in targets]), torch.cat([labels for *_, labels, _ in targets])
        focal = self.loss_cls
        total = sparse_focal_loss(
            logits.reshape(-1, self.num_classes), positives, labels, ignored, focal.alpha, focal.gamma
        )
        loss_bbox, loss_dir = self._box_losses(cells, anchors, positives, boxes, count)
        losses = {'loss_cls': [focal.loss_weight * total / (count + EPS)], 'loss_bbox': [loss_bbox]}
        return losses | {'loss_dir': [loss_dir]}

    def _box_losses(
        self, cells: Tensor, anchors: Tensor, positives: Tensor, boxes: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        """Return box and direction loss; both are predicted for positive anchors only.

        Args:
            cells: ``(B * H * W, I)`` features.
            anchors: ``(N, 7)`` anchors of a frame.
            positives: ``(P,)`` positive anchors among those of the batch.
            boxes: ``(P, 7)`` the box of each, bottom-centred.
            count: What the sums are divided by.
        """
        features, kinds = cells[positives // self.num_anchors], positives % self.num_anchors
        deltas = _of_anchors(self.conv_reg, features, kinds, self.num_anchors)
        directions = _of_anchors(self.conv_dir_cls, features, kinds, self.num_anchors)
        if not len(positives):
            return deltas.sum(), directions.sum()
        positive_anchors = anchors[positives % len(anchors)]
        targets = self.bbox_coder.encode(positive_anchors, boxes)
        bins = get_direction_target(positive_anchors, targets, self.dir_offset, self.dir_limit_offset, one_hot=False)
        weights = torch.ones_like(targets)
        if self.train_cfg.get('code_weight', None):
            weights = weights * weights.new_tensor(self.train_cfg['code_weight'])
        if self.diff_rad_by_sin:
            deltas, targets = self.add_sin_difference(deltas, targets)
        loss_bbox = self.loss_bbox(deltas, targets, weights, avg_factor=count)
        return loss_bbox, self.loss_dir(directions, bins, torch.ones_like(bins, dtype=deltas.dtype), avg_factor=count)

    def _targets(self, truth: InstanceData, grid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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

    def _grid(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return a level's anchors as ``(N, 7)`` and, without rotation, as ``(H, W, S, R, 4)`` edges."""
        size = features.shape[-2:]
        if size not in self._grids:
            anchors = self.prior_generator.grid_anchors([size], device=features.device)[0]
            sizes, rotations = anchors.shape[-3:-1]
            edges = LiDARInstance3DBoxes(anchors.reshape(-1, 7)).nearest_bev
            self._grids = {size: (anchors.reshape(-1, 7), edges.reshape(*size, sizes, rotations, 4).contiguous())}
        return self._grids[size]

    def _is_lean(self, maps: Sequence[Tensor]) -> bool:
        """Return whether the lean way computes what the stock head would."""
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


def _of_anchors(layer: nn.Conv2d, features: Tensor, kinds: Tensor, anchors: int) -> Tensor:
    """Return ``(P, O)``: what a 1 x 1 convolution says about one of each cell's anchors, given (P, I) features."""
    outputs = functional.linear(features, layer.weight.flatten(1), layer.bias)
    return outputs.reshape(len(features), anchors, layer.out_channels // anchors)[torch.arange(len(features)), kinds]


def _is_plain(rule: Any) -> bool:
    return (
        type(rule) is Max3DIoUAssigner
        and isinstance(rule.iou_calculator, BboxOverlapsNearest3D)
        and isinstance(rule.neg_iou_thr, float)
        and rule.ignore_iof_thr <= 0 < rule.min_pos_iou
        and rule.match_low_quality
        and rule.gt_max_assign_all
    )
