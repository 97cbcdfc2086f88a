"""SECOND's and PointPillars' head with the class logits of its boxes, and a lean way to train it on the CPU."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet3d.models.dense_heads import Anchor3DHead
from mmdet3d.models.layers import box3d_multiclass_nms
from mmdet3d.registry import MODELS
from mmdet3d.structures import limit_period, xywhr2xyxyr
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional

from ssal3d.errors import UserError
from ssal3d.models.fast_layers import one_product
from ssal3d.models.frame_losses import WeightedAnchorTargets
from ssal3d.models.gradients import anchor_score_derivatives, outer_product_sums
from ssal3d.models.lean_anchor_losses import LeanAnchorLosses, of_kind


@MODELS.register_module()
class ActiveAnchor3DHead(LeanAnchorLosses, WeightedAnchorTargets, Anchor3DHead):
    """Anchor head whose results carry one-vs-all class logits as ``class_logits`` (N, C).

    On the CPU its three 1 x 1 convolutions are one matrix product, and training looks at boxes and directions of
    positive anchors only (`LeanAnchorLosses`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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
        return one_product(self, x) if x.device.type == 'cpu' else super().forward_single(x)

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
        if not self.is_lean(x):
            return super().loss(x, batch_data_samples, **kwargs)
        cells = x[0].permute(0, 2, 3, 1).reshape(-1, x[0].shape[1])
        logits = functional.linear(cells, self.conv_cls.weight.flatten(1), self.conv_cls.bias)

        def of_anchors(cell: Tensor, kind: Tensor) -> list[Tensor]:
            features = cells[cell]
            return [
                of_kind(functional.linear(features, layer.weight.flatten(1), layer.bias), kind, self.num_anchors)
                for layer in (self.conv_reg, self.conv_dir_cls)
            ]

        truths = [sample.gt_instances_3d for sample in batch_data_samples]
        metas = [sample.metainfo for sample in batch_data_samples]
        return self.lean_losses(logits.reshape(-1, self.num_classes), of_anchors, truths, metas, x[0])
