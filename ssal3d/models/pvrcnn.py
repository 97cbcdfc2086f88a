"""PV-RCNN that also returns what frame selection needs: class logits, features and RoI-level outputs.

The four classes add no parameter, so checkpoints of the stock classes load unchanged (``class_quality`` adds buffers).
Extras per final box stand in ``pred_instances_3d`` under the column names of the prediction contract; extras per frame
in ``frame_predictions``.
Source: PV-RCNN (Shi et al. 2020, arXiv 1912.13192) as in MMDetection3D.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmdet3d.models.detectors import PointVoxelRCNN
from mmdet3d.models.roi_heads import PVRCNNRoiHead
from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ssal3d.data.boxes import bottom_to_gravity
from ssal3d.models.class_quality import ClassQuality, aligned_iou_3d
from ssal3d.models.dense_cpu import cpu_dense_dtype, run_dense
from ssal3d.models.extraction import Extraction
from ssal3d.models.fast_layers import FastPartA2RPNHead, use_fast_layers
from ssal3d.models.frame_losses import WeightedAnchorTargets, frame_outputs
from ssal3d.models.gradients import (
    anchor_score_derivatives,
    outer_product_sums,
    roi_score_derivatives,
    shared_layer_derivatives,
)
from ssal3d.models.lean_anchor_losses import LeanAnchorLosses, of_kind
from ssal3d.models.mixed_precision import dense_part
from ssal3d.models.protocol import ABILITIES, FrameOutput
from ssal3d.models.pvrcnn_bbox_head import monte_carlo_passes
from ssal3d.models.roi_targets import roi_targets
from ssal3d.ops.rois import stack_rois

LOGIT_EPS = 1e-6


@MODELS.register_module()
class ActivePartA2RPNHead(LeanAnchorLosses, WeightedAnchorTargets, FastPartA2RPNHead):
    """RPN head whose proposals carry one-vs-all class logits as ``class_logits`` (R, C).

    The stock head stores sigmoid probabilities when it pruned anchors to ``nms_pre`` and raw logits when it did not.
    In training, boxes may have weights (see `ssal3d.models.frame_losses`); on the CPU, the losses look at positive
    anchors only (`LeanAnchorLosses`).
    """

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """Return class logits, residuals and direction logits of each level, in single precision.

        Args:
            x: Maps of the neck.
        """
        with dense_part(x[0].device):
            maps = super().forward(x)
        return tuple([level.float() for level in kind] for kind in maps)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        dir_cls_preds: list[Tensor],
        batch_gt_instances_3d: list[InstanceData],
        batch_input_metas: list[dict],
        batch_gt_instances_ignore: Any = None,
    ) -> dict[str, list[Tensor]]:
        """Return the stock losses of a batch.

        Args:
            cls_scores: Class logits of each level.
            bbox_preds: Residuals of each level.
            dir_cls_preds: Direction logits of each level.
            batch_gt_instances_3d: Boxes of each frame, perhaps with ``weights``.
            batch_input_metas: Metainfo of each frame, perhaps with ``ignore_negatives``.
            batch_gt_instances_ignore: Unused, as in the stock head.
        """
        maps = cls_scores, bbox_preds, dir_cls_preds
        if not self.is_lean(cls_scores):
            return super().loss_by_feat(*maps, batch_gt_instances_3d, batch_input_metas, batch_gt_instances_ignore)
        rows = [kind[0].permute(0, 2, 3, 1).flatten(0, 2) for kind in maps]  # (B * H * W, A * O)

        def of_anchors(cell: Tensor, kind: Tensor) -> list[Tensor]:
            return [of_kind(values[cell], kind, self.num_anchors) for values in rows[1:]]

        logits = rows[0].reshape(-1, self.num_classes)
        losses = self.lean_losses(logits, of_anchors, batch_gt_instances_3d, batch_input_metas, cls_scores[0])
        return {name.replace('loss_', 'loss_rpn_'): parts for name, parts in losses.items()}

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
class ActivePVRCNNRoiHead(PVRCNNRoiHead):
    """RoI head whose results carry the contract's extras.

    Args:
        class_quality: Options of `ClassQuality`, which then follows how well each class is learnt (PPAL); None for no.

    Attributes:
        extraction: What to compute beside the final boxes.
        max_rois: RoIs R that RoI-level rows are padded to.
        frame_predictions: RoI-level values of each frame of the last batch.
        refined_rois: Refined boxes, scores and labels of its RoIs before suppression.
    """

    def __init__(self, *args: Any, class_quality: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.class_quality = None if class_quality is None else ClassQuality(self.num_classes, **class_quality)
        self.extraction = Extraction()
        self.max_rois = 0
        self.frame_predictions: list[dict[str, Any]] = []
        self.refined_rois: list[InstanceData] = []

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
        some = rois if len(rois) else rois.new_zeros(1, rois.shape[1])  # CUDA's kernels refuse to pool for no RoI
        pooled = self.bbox_roi_extractor(features, keypoints[..., 1:], keypoints[..., 0].int(), some)[: len(rois)]
        scores, residuals = self.bbox_head(pooled)
        shared = self.bbox_head.shared_features
        labels = [results['labels_3d'] for results in rpn_results_list]
        refined = self.bbox_head.refined(rois, scores, residuals, labels)
        metas = [sample.metainfo for sample in batch_data_samples]
        results_list = self.bbox_head.suppressed(refined, metas, self.test_cfg)
        frames = [rois[:, 0] == frame for frame in range(len(rpn_results_list))]
        for in_frame, results, proposals in zip(frames, results_list, rpn_results_list):
            results.box_features = shared[in_frame][results.roi_index]
            results.rpn_scores_3d = proposals['scores_3d'][results.roi_index]
            if 'class_logits' in proposals:
                results.class_logits = proposals['class_logits'][results.roi_index]
        self.frame_predictions = self._frame_predictions(rpn_results_list, frames, shared, pooled)
        self.refined_rois = refined
        return results_list

    def _frame_predictions(
        self, proposals: Sequence[InstanceData], frames: Sequence[Tensor], shared: Tensor, pooled: Tensor
    ) -> list[dict[str, Any]]:
        """Return the RoI-level columns of each frame, given which of the batch's RoIs are its own."""
        extraction, columns = self.extraction, [dict[str, Any]() for _ in frames]
        if extraction.wants_rois:
            for in_frame, rois, values in zip(frames, proposals, columns):
                values['roi_features'] = self.padded(shared[in_frame])
                values['roi_valid'] = torch.arange(self.max_rois) < len(rois)
                values['rois'] = rois
        passes = None
        if extraction.wants_passes:
            passes = monte_carlo_passes(self.bbox_head, pooled, extraction.mc_passes, extraction.mc_seed)
            for in_frame, values in zip(frames, columns):
                values['mc_scores'], values['mc_residuals'] = passes[0][:, in_frame], passes[1][:, in_frame]
        if extraction.wants_gradient and extraction.gradient != 'rpn_conv_cls':
            if passes is None:
                pieces = roi_score_derivatives(self.bbox_head, shared)
            else:
                weights = torch.stack([in_frame / in_frame.sum().clamp(min=1) for in_frame in frames]).sum(0)
                pieces = shared_layer_derivatives(self.bbox_head, pooled, passes[0].mean(0), passes[1].mean(0), weights)
            rows = outer_product_sums(*pieces, frames, extraction.projection, extraction.projection_seed)
            for row, values in zip(rows, columns):
                values['gradient'] = row
        return columns

    def padded(self, rows: Tensor) -> Tensor:
        """Return ``(max_rois, D)``: the values of a frame's RoIs, then zeros."""
        return nn.functional.pad(rows, (0, 0, 0, self.max_rois - len(rows)))

    def _bbox_forward(self, keypoint_features: Tensor, keypoints: Tensor, rois: Tensor) -> dict:
        """Score and refine any number of RoIs; the stock head needs one."""
        if len(rois):
            return super()._bbox_forward(keypoint_features, keypoints, rois)
        head = self.bbox_head
        return {
            'bbox_scores': rois.new_zeros((0, head.cls_out_channels)),
            'bbox_reg': rois.new_zeros((0, head.reg_out_channels)),
        }

    def _bbox_forward_train(
        self, seg_preds: Tensor, keypoint_features: Tensor, keypoints: Tensor, sampling_results: list
    ) -> dict:
        """Train as the stock head and, where it is wanted, note how well the classes are learnt."""
        outputs = super()._bbox_forward_train(seg_preds, keypoint_features, keypoints, sampling_results)
        if self.class_quality is not None and self.training:
            self._note_quality(outputs, sampling_results)
        return outputs

    @torch.no_grad()
    def _note_quality(self, outputs: Mapping[str, Tensor], sampling_results: Sequence[Any]) -> None:
        """Update the quality of each class from the positive RoIs; a frame's positives come before its negatives."""
        sizes = [len(result.bboxes) for result in sampling_results]
        rows = torch.cat(
            [
                start + torch.arange(len(result.pos_bboxes))
                for start, result in zip(torch.tensor([0, *sizes]).cumsum(0), sampling_results)
            ]
        ).to(outputs['bbox_reg'].device)
        anchors = torch.cat([result.pos_bboxes for result in sampling_results])
        decoded = self.bbox_head._decode(anchors, outputs['bbox_reg'][rows])
        truth = torch.cat([result.pos_gt_bboxes for result in sampling_results])
        assert self.class_quality is not None
        self.class_quality.update(
            outputs['bbox_scores'][rows].sigmoid().amax(-1),
            aligned_iou_3d(bottom_to_gravity(decoded), bottom_to_gravity(truth)),
            torch.cat([result.pos_gt_labels for result in sampling_results]),
        )


@MODELS.register_module()
class ActivePointVoxelRCNN(PointVoxelRCNN):
    """PV-RCNN that fills the prediction contract: frame-level extras stand in ``data_sample.frame_predictions``.

    Args:
        dense_cpu_dtype: Type of backbone and neck on the CPU, see `ssal3d.models.dense_cpu.cpu_dense_dtype`.
        *args: As for the stock detector.
        **kwargs: As for the stock detector.

    Attributes:
        provides: Columns of the contract that the detector computes.
        teaches: What teacher-student methods can learn from it, see `ssal3d.models.protocol.FrameTeacher`.
        pseudo_label_losses: Losses of proposals and of the RoIs' boxes; neither key points nor RoI scores.
    """

    teaches = frozenset(ABILITIES)
    pseudo_label_losses = ('loss_rpn_cls', 'loss_rpn_bbox', 'loss_rpn_dir', 'loss_bbox', 'loss_corner')

    marks_dense_part = True
    provides = frozenset(
        (
            *('class_logits', 'box_features', 'roi_index', 'roi_features', 'roi_valid', 'mc_scores', 'mc_residuals'),
            *('gradient', 'roi_scores_target', 'roi_residuals_target'),
        )
    )
    _anchor_gradients: Tensor | None = None

    def __init__(self, *args: Any, dense_cpu_dtype: str = 'float32', **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dense_dtype = cpu_dense_dtype(dense_cpu_dtype)
        use_fast_layers(self)

    @property
    def extraction(self) -> Extraction:
        """What to compute beside the final boxes; set it with `ssal3d.models.extraction.extracting`."""
        return self.roi_head.extraction

    @extraction.setter
    def extraction(self, extraction: Extraction) -> None:
        self.roi_head.extraction = extraction
        self.roi_head.max_rois = self.test_cfg.rpn.nms_post

    def prediction_metadata(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what readers of the predictions must know about this detector.

        Args:
            classes: Class names in the order of its labels.
        """
        quality = self.roi_head.class_quality
        return {
            'detector': type(self).__name__,
            'score_threshold': self.test_cfg.rcnn.get('score_thr'),
            'nms_iou': self.test_cfg.rcnn.get('nms_thr'),
            'dense_cpu_dtype': str(self.dense_dtype).removeprefix('torch.'),
            **self.extraction.metadata,
            **({} if quality is None else {'class_quality': dict(zip(classes, quality.quality.tolist()))}),
        }

    @property
    def anchor_generator(self) -> Any:
        """What makes the anchors of the first stage."""
        return self.rpn_head.prior_generator

    def frame_outputs(self, inputs: dict[str, Any], samples: Sequence[Any]) -> list[FrameOutput]:
        """Run in training mode on a batch and return every frame's own losses and outputs.

        Args:
            inputs: Points and voxels of B frames.
            samples: B data samples, see `ssal3d.models.frame_losses.frame_outputs`.
        """
        return frame_outputs(self, inputs, samples)

    def roi_targets(self, rois: InstanceData, annotations: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the columns ``roi_scores_target`` (R,) and ``roi_residuals_target`` (R, 7) of a labelled frame.

        Args:
            rois: The frame's proposals, as in ``frame_predictions['rois']``.
            annotations: ``gt_bboxes_3d`` and ``gt_labels_3d``.
        """
        device = rois['labels_3d'].device
        scores, residuals = roi_targets(
            self.roi_head,
            rois['bboxes_3d'],
            rois['labels_3d'],
            annotations['gt_bboxes_3d'].to(device),
            torch.as_tensor(annotations['gt_labels_3d'], device=device),
        )
        padded = self.roi_head.padded
        return {'roi_scores_target': padded(scores[:, None])[:, 0], 'roi_residuals_target': padded(residuals)}

    def extract_feat(self, batch_inputs_dict: dict) -> dict[str, Any]:
        """Extract the features of the first stage; those of the neck may be in half precision.

        Args:
            batch_inputs_dict: Points and voxels.
        """
        voxels = batch_inputs_dict['voxels']
        features = self.voxel_encoder(voxels['voxels'], voxels['num_points'], voxels['coors'])
        dense, levels = self.middle_encoder(features, voxels['coors'], len(batch_inputs_dict['points']))
        neck_feats = self._dense(lambda x: self.neck(self.backbone(x)), dense)
        read = [levels[round(math.log2(stride))] for stride in self._strides]
        return {'spatial_feats': dense, 'multi_scale_3d_feats': read, 'neck_feats': neck_feats}

    def _dense(self, layers: Callable[[Tensor], list[Tensor]], inputs: Tensor) -> list[Tensor]:
        if inputs.device.type == 'cpu' and self.dense_dtype != torch.float32:
            return run_dense(layers, inputs, self.dense_dtype)
        with dense_part(inputs.device):
            return layers(inputs)

    @property
    def _strides(self) -> list[int]:
        """Strides of the levels of the 3D backbone that key points gather from; stock takes the first ones."""
        return [layer['scale_factor'] for layer in getattr(self.points_encoder, 'voxel_sa_configs_list', ())]

    def extract_points_feat(self, batch_inputs_dict: dict, feats_dict: dict, rpn_results_list: list) -> dict:
        """Extract key point features; keeps the RPN's input where its gradient is wanted.

        Args:
            batch_inputs_dict: Points and voxels.
            feats_dict: Features of the first stage.
            rpn_results_list: Proposals of each frame.
        """
        extraction = self.extraction
        self._anchor_gradients = None
        if not self.training and extraction.wants_gradient and extraction.gradient == 'rpn_conv_cls':
            self._anchor_gradients = self._rpn_gradients(feats_dict['neck_feats'][0], extraction)
        return super().extract_points_feat(batch_inputs_dict, feats_dict, rpn_results_list)

    def _rpn_gradients(self, features: Tensor, extraction: Extraction) -> Tensor:
        pieces = anchor_score_derivatives(self.rpn_head, features.float())
        cells = torch.arange(len(pieces[0]), device=features.device).chunk(len(features))
        return outer_product_sums(*pieces, cells, extraction.projection, extraction.projection_seed)

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
        extras = zip(samples, self.roi_head.frame_predictions, self.roi_head.refined_rois)
        for frame, (sample, values, refined) in enumerate(extras):
            if self._anchor_gradients is not None:
                values['gradient'] = self._anchor_gradients[frame]
            sample.frame_predictions, sample.refined_rois = values, refined
        return samples
