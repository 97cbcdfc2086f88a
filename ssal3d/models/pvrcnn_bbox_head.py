"""PV-RCNN's box head with the features behind its results, and Monte-Carlo dropout over its layers."""

from collections.abc import Sequence

import torch
from mmdet3d.models.roi_heads.bbox_heads import PVRCNNBBoxHead
from mmdet3d.registry import MODELS
from mmdet3d.structures.bbox_3d import rotation_3d_in_axis
from mmengine.structures import InstanceData
from torch import Tensor, nn


@MODELS.register_module()
class ActivePVRCNNBBoxHead(PVRCNNBBoxHead):
    """Box head that remembers the shared RoI features and knows which RoI became which final box.

    Attributes:
        shared_features: ``(R, D)`` features behind both branches, of the last prediction.
    """

    shared_features: Tensor | None = None

    def forward(self, feats: Tensor) -> tuple[Tensor, Tensor]:
        """Score and refine RoIs; ``shared_features`` (R, D) keeps the features behind both branches."""
        flat = feats.permute(0, 4, 1, 2, 3).flatten(1)[..., None, None]
        shared = self.shared_fc_layer(flat)
        self.shared_features = None if self.training and torch.is_grad_enabled() else shared.flatten(1)
        scores = self.cls_layer(shared).reshape(-1, self.cls_out_channels)
        return scores, self.reg_layer(shared).reshape(-1, self.reg_out_channels)

    def get_results(
        self,
        rois: Tensor,
        cls_preds: Tensor,
        bbox_reg: Tensor,
        class_labels: Sequence[Tensor],
        input_metas: Sequence[dict],
        test_cfg: dict | None = None,
    ) -> list[InstanceData]:
        """Decode, suppress and return final boxes with ``roi_index``, the row of each box among its frame's RoIs.

        Args:
            rois: ``(R, 8)`` frame index and box of all frames' RoIs.
            cls_preds: ``(R, 1)`` confidence logits.
            bbox_reg: ``(R, 7)`` encoded residuals.
            class_labels: Labels of each frame's RoIs.
            input_metas: One per frame; frames without RoIs give empty results.
            test_cfg: NMS settings.
        """
        return self.suppressed(self.refined(rois, cls_preds, bbox_reg, class_labels), input_metas, test_cfg)

    def refined(
        self, rois: Tensor, cls_preds: Tensor, bbox_reg: Tensor, class_labels: Sequence[Tensor]
    ) -> list[InstanceData]:
        """Return refined boxes (R, 7), bottom-centred, scores and labels of all RoIs of each frame.

        Args:
            rois: ``(R, 8)`` frame index and box of all frames' RoIs.
            cls_preds: ``(R, 1)`` confidence logits.
            bbox_reg: ``(R, 7)`` encoded residuals.
            class_labels: Labels of each frame's RoIs.
        """
        boxes, scores = self._decode(rois[:, 1:], bbox_reg), cls_preds.sigmoid().amax(-1)
        frames = ((rois[:, 0] == frame, labels) for frame, labels in enumerate(class_labels))
        return [
            InstanceData(bboxes_3d=boxes[rows], scores_3d=scores[rows], labels_3d=labels) for rows, labels in frames
        ]

    def suppressed(
        self, refined: Sequence[InstanceData], input_metas: Sequence[dict], test_cfg: dict | None = None
    ) -> list[InstanceData]:
        """Return the refined boxes of each frame that suppression leaves, with ``roi_index``.

        Args:
            refined: What `refined` returned.
            input_metas: One per frame.
            test_cfg: NMS settings.
        """
        results = []
        for found, meta in zip(refined, input_metas):
            boxes, scores = found.bboxes_3d, found.scores_3d
            kept = self.class_agnostic_nms(scores=scores, bbox_preds=boxes, input_meta=meta, nms_cfg=test_cfg)
            kept = torch.as_tensor(kept, dtype=torch.long, device=boxes.device)
            instances = InstanceData()
            instances.bboxes_3d = meta['box_type_3d'](boxes[kept], self.bbox_coder.code_size)
            instances.scores_3d = scores[kept]
            instances.labels_3d = found.labels_3d[kept].long()  # the proposal head gives float labels to no boxes
            instances.roi_index = kept
            results.append(instances)
        return results

    def _decode(self, roi_boxes: Tensor, bbox_reg: Tensor) -> Tensor:
        anchors = roi_boxes.clone()
        anchors[:, :3] = 0
        boxes = self.bbox_coder.decode(anchors, bbox_reg)
        if len(boxes):
            boxes[:, :3] = rotation_3d_in_axis(boxes[:, None, :3], roi_boxes[:, 6], axis=2).squeeze(1)
        boxes[:, :3] += roi_boxes[:, :3]
        return boxes


def monte_carlo_passes(head: nn.Module, pooled: Tensor, passes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Run a box head several times with dropout switched on.

    Args:
        head: The box head; its mode, buffers and the global random state are the same afterwards.
        pooled: Pooled RoI features as the head takes them.
        passes: Number of passes M.
        seed: Seed of the dropout masks.

    Returns:
        ``(M, R)`` probabilities and ``(M, R, 7)`` encoded residuals.
    """
    dropouts = [module for module in head.modules() if isinstance(module, nn.Dropout)]
    modes = [module.training for module in dropouts]
    devices = [pooled.device] if pooled.is_cuda else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        for module in dropouts:
            module.train()
        try:
            outputs = [head(pooled) for _ in range(passes)]
        finally:
            for module, mode in zip(dropouts, modes):
                module.train(mode)
    scores, residuals = zip(*outputs)
    return torch.stack(scores).sigmoid().amax(-1), torch.stack(residuals)
