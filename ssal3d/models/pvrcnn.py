"""PV-RCNN that also returns what frame selection needs: class logits, features and RoI-level outputs.

The four classes add no parameter, so checkpoints of the stock classes load unchanged. Extras per final box stand in
``pred_instances_3d`` under the column names of the prediction contract; extras per frame in ``frame_predictions``.
Source: spec/active_learning.md 2.2 and 2.3.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet3d.models.dense_heads import PartA2RPNHead
from mmdet3d.models.detectors import PointVoxelRCNN
from mmdet3d.models.roi_heads import PVRCNNRoiHead
from mmdet3d.models.roi_heads.bbox_heads import PVRCNNBBoxHead
from mmdet3d.registry import MODELS
from mmdet3d.structures.bbox_3d import rotation_3d_in_axis
from mmengine.structures import InstanceData
from torch import Tensor, nn

LOGIT_EPS = 1e-6


@MODELS.register_module()
class ActivePartA2RPNHead(PartA2RPNHead):
    """RPN head whose proposals carry one-vs-all class logits as ``class_logits`` (R, C).

    The stock head stores sigmoid probabilities when it pruned anchors to ``nms_pre`` and raw logits when it did not.
    """

    def _predict_by_feat_single(
        self,
        cls_score_list: list[Tensor],
        bbox_pred_list: list[Tensor],
        dir_cls_pred_list: list[Tensor],
        mlvl_priors: list[Tensor],
        input_meta: dict,
        cfg: dict,
        rescale: bool = False,
    ) -> InstanceData:
        results = super()._predict_by_feat_single(
            cls_score_list, bbox_pred_list, dir_cls_pred_list, mlvl_priors, input_meta, cfg, rescale
        )
        anchors = max(scores.numel() // self.num_classes for scores in cls_score_list)
        pruned = 0 < cfg.get('nms_pre', -1) < anchors
        predictions = results['cls_preds'].reshape(-1, self.num_classes)
        results['class_logits'] = torch.logit(predictions, eps=LOGIT_EPS) if pruned else predictions
        return results


@MODELS.register_module()
class ActivePVRCNNBBoxHead(PVRCNNBBoxHead):
    """Box head that remembers the shared RoI features and knows which RoI became which final box."""

    shared_features: Tensor | None = None

    def forward(self, feats: Tensor) -> tuple[Tensor, Tensor]:
        """Score and refine RoIs; ``shared_features`` (R, D) keeps the features behind both branches in eval mode."""
        rois = feats.shape[0]
        flat = feats.permute(0, 4, 1, 2, 3).reshape(rois, -1, 1, 1)
        shared = self.shared_fc_layer(flat)
        self.shared_features = None if self.training else shared.flatten(1)
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
        boxes = self._decode(rois[:, 1:], bbox_reg)
        scores = cls_preds.sigmoid().amax(-1)
        results = []
        for frame, (labels, meta) in enumerate(zip(class_labels, input_metas)):
            own = rois[:, 0] == frame
            kept = self.class_agnostic_nms(scores=scores[own], bbox_preds=boxes[own], input_meta=meta, nms_cfg=test_cfg)
            kept = torch.as_tensor(kept, dtype=torch.long, device=rois.device)
            instances = InstanceData()
            instances.bboxes_3d = meta['box_type_3d'](boxes[own][kept], self.bbox_coder.code_size)
            instances.scores_3d = scores[own][kept]
            instances.labels_3d = labels[kept]
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


@MODELS.register_module()
class ActivePVRCNNRoiHead(PVRCNNRoiHead):
    """RoI head whose results carry the contract's extras.

    Args:
        mc_passes: Monte-Carlo dropout passes over the RoI branch at prediction time; 0 for none. Only the fully
            connected layers run again, batch normalisation stays in eval mode.
        mc_seed: Seed of the dropout masks.
        keep_roi_features: Return the features of all RoIs, zero padded to ``test_cfg``'s number of RoIs.
        max_rois: RoIs that features and passes are padded to.
    """

    def __init__(
        self,
        *args: Any,
        mc_passes: int = 0,
        mc_seed: int = 0,
        keep_roi_features: bool = False,
        max_rois: int = 100,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.mc_passes = mc_passes
        self.mc_seed = mc_seed
        self.keep_roi_features = keep_roi_features
        self.max_rois = max_rois
        self.frame_predictions: list[dict[str, Tensor]] = []

    def predict(
        self, feats_dict: dict, rpn_results_list: list[InstanceData], batch_data_samples: list, **kwargs: Any
    ) -> list[InstanceData]:
        """Predict final boxes with their extras; ``self.frame_predictions`` holds the RoI-level values of each frame.

        Args:
            feats_dict: Key points and their features.
            rpn_results_list: Proposals of each frame.
            batch_data_samples: Data samples of the frames.
            **kwargs: Unused, as in the stock head.
        """
        foreground = self.semantic_head(feats_dict['keypoint_features'])['seg_preds'].sigmoid().amax(-1, keepdim=True)
        features = feats_dict['fusion_keypoint_features'] * foreground
        rois = stack_rois([results['bboxes_3d'].tensor for results in rpn_results_list])
        keypoints = feats_dict['keypoints']
        pooled = self.bbox_roi_extractor(features, keypoints[..., 1:], keypoints[..., 0].int(), rois)
        scores, residuals = self.bbox_head(pooled)
        shared = self.bbox_head.shared_features
        results_list = self.bbox_head.get_results(
            rois,
            scores,
            residuals,
            [results['labels_3d'] for results in rpn_results_list],
            [sample.metainfo for sample in batch_data_samples],
            self.test_cfg,
        )
        passes = monte_carlo_passes(self.bbox_head, pooled, self.mc_passes, self.mc_seed) if self.mc_passes else None
        self.frame_predictions = []
        for frame, (results, proposals) in enumerate(zip(results_list, rpn_results_list)):
            own = rois[:, 0] == frame
            results.box_features = shared[own][results.roi_index]
            if 'class_logits' in proposals:
                results.class_logits = proposals['class_logits'][results.roi_index]
            self.frame_predictions.append(self._frame_predictions(own, shared, passes))
        return results_list

    def _frame_predictions(
        self, own: Tensor, shared: Tensor, passes: tuple[Tensor, Tensor] | None
    ) -> dict[str, Tensor]:
        """Return the RoI-level columns of one frame, given which of the batch's RoIs are its own."""
        values = {}
        rois = int(own.sum())
        if self.keep_roi_features:
            values['roi_features'] = nn.functional.pad(shared[own], (0, 0, 0, self.max_rois - rois))
            values['roi_valid'] = torch.arange(self.max_rois) < rois
        if passes is not None:
            values['mc_scores'] = passes[0][:, own]
            values['mc_residuals'] = passes[1][:, own]
        return values


@MODELS.register_module()
class ActivePointVoxelRCNN(PointVoxelRCNN):
    """PV-RCNN that moves the RoI head's frame-level extras to ``data_sample.frame_predictions``."""

    def add_pred_to_datasample(
        self, data_samples: list, data_instances_3d: list | None = None, *args: Any, **kwargs: Any
    ) -> list:
        """Attach predictions to the data samples.

        Args:
            data_samples: One per frame.
            data_instances_3d: Results of the RoI head.
            *args: As in the stock detector.
            **kwargs: As in the stock detector.
        """
        samples = super().add_pred_to_datasample(data_samples, data_instances_3d, *args, **kwargs)
        for sample, values in zip(samples, self.roi_head.frame_predictions):
            sample.frame_predictions = values
        return samples


def stack_rois(boxes: Sequence[Tensor]) -> Tensor:
    """Return ``(R, 8)`` RoIs of a batch: frame index, then the box; frames may have none."""
    return torch.cat([torch.cat((own.new_full((len(own), 1), frame), own), 1) for frame, own in enumerate(boxes)])


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
