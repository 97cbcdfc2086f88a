"""PV-RCNN's losses of each frame of a batch on its own, after one joint forward of all frames.

Semi-supervised methods mix labelled frames, pseudo-labelled ones and ones without any target. All of them share the
statistics of batch normalisation, but each is normalised by its own positives and weighted as its method says.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ssal3d.models.protocol import FIRST_STAGE_ONLY, IGNORE_NEGATIVES, FrameOutput
from ssal3d.ops.rois import stack_rois

POSITIVE_ROI_IOU = 0.75  # with `ignore_negatives`, scores are learnt from RoIs above it


def frame_outputs(detector: Any, inputs: dict[str, Any], samples: Sequence[Any]) -> list[FrameOutput]:
    """Run PV-RCNN in training mode on a batch and return every frame's own losses and outputs.

    Args:
        detector: PV-RCNN.
        inputs: Points and voxels of B frames.
        samples: B data samples. ``gt_instances_3d`` may hold ``weights`` (G,) per box; the metainfo key
            ``ignore_negatives`` leaves everything that is not near a box out of the losses. Frames without
            ``gt_instances_3d`` have no losses, and the RoIs of the test settings. The last frames may have the key
            ``first_stage_only``: they have no RoIs, and do not enter the statistics of the second stage.
    """
    truths = [copy.deepcopy(sample.gt_instances_3d) if 'gt_instances_3d' in sample else None for sample in samples]
    metas = [sample.metainfo for sample in samples]
    count = sum(not meta.get(FIRST_STAGE_ONLY) for meta in metas)
    assert not any(meta.get(FIRST_STAGE_ONLY) for meta in metas[:count])
    features = detector.extract_feat(inputs)
    maps = detector.rpn_head(features['neck_feats'])
    outputs, proposals = [], []
    for frame, (truth, meta) in enumerate(zip(truths, metas)):
        frame_maps = [[level[frame : frame + 1] for level in kind] for kind in maps]
        output = FrameOutput(rpn_scores=frame_maps[0][0][0], rpn_residuals=frame_maps[1][0][0])
        if truth is not None:
            losses = detector.rpn_head.loss_by_feat(*frame_maps, [copy.deepcopy(truth)], [meta], [None])
            output.losses |= {name: sum(parts) for name, parts in losses.items()}
        outputs.append(output)
        if frame < count:
            settings = detector.test_cfg.rpn if truth is None else detector.train_cfg.rpn_proposal
            proposals.append(detector.rpn_head.predict_by_feat(*frame_maps, batch_input_metas=[meta], cfg=settings)[0])
    if count:
        points = detector.extract_points_feat(*_of_first_frames(inputs, features, count), proposals)
        _second_stage(detector.roi_head, points, proposals, truths[:count], metas[:count], outputs[:count])
    return outputs


def _of_first_frames(inputs: dict[str, Any], features: dict[str, Any], count: int) -> tuple[dict, dict]:
    """Return the inputs of some first frames of a batch, and what the first stage has found in them."""
    if count == len(inputs['points']):
        return inputs, features
    coors = inputs['voxels']['coors']
    levels = []
    for level in features['multi_scale_3d_feats']:
        rows = level.indices[:, 0] < count
        levels.append(type(level)(level.features[rows], level.indices[rows], level.spatial_shape, count))
    return (
        {'points': inputs['points'][:count], 'voxels': {'coors': coors[coors[:, 0] < count]}},
        {'spatial_feats': features['spatial_feats'][:count], 'multi_scale_3d_feats': levels},
    )


def _second_stage(
    head: Any,
    points: dict[str, Tensor],
    proposals: Sequence[InstanceData],
    truths: Sequence[InstanceData | None],
    metas: Sequence[dict],
    outputs: Sequence[FrameOutput],
) -> None:
    """Add what the RoI head says and loses to each frame's output."""
    foreground = head.semantic_head(points['keypoint_features'])['seg_preds']
    sampled = [_sample(head, frame_proposals, truth) for frame_proposals, truth in zip(proposals, truths)]
    boxes = [
        frame_proposals['bboxes_3d'].tensor if result is None else result.bboxes
        for frame_proposals, result in zip(proposals, sampled)
    ]
    rois = stack_rois(boxes)
    features = points['fusion_keypoint_features'] * foreground.sigmoid().amax(-1, keepdim=True)
    results = head._bbox_forward(features, points['keypoints'], rois)
    refined = head.bbox_head._decode(rois[:, 1:], results['bbox_reg'])
    start = 0
    for frame, (output, result, truth, meta) in enumerate(zip(outputs, sampled, truths, metas)):
        rows = slice(start, start + len(boxes[frame]))
        start = rows.stop
        output.boxes, output.logits = refined[rows], results['bbox_scores'][rows].flatten()
        output.labels = proposals[frame]['labels_3d']
        if truth is None or result is None:
            continue
        output.labels = _labels_of(result)
        inside = points['keypoints'][:, 0] == frame
        output.losses |= _point_loss(head.semantic_head, foreground[inside], points['keypoints'][inside], truth, meta)
        targets = _roi_targets(head, result, truth, meta)
        scores, residuals = results['bbox_scores'][rows], results['bbox_reg'][rows]
        output.losses |= head.bbox_head.loss(scores, residuals, rois[rows], *targets)


def _sample(head: Any, proposals: InstanceData, truth: InstanceData | None) -> Any:
    if truth is None:
        return None
    return head._assign_and_sample([proposals], [copy.deepcopy(truth)])[0]


def _labels_of(result: Any) -> Tensor:
    """Return the class of each positive RoI, then -1 for the negative ones."""
    negatives = result.pos_gt_labels.new_full((len(result.bboxes) - len(result.pos_gt_labels),), -1)
    return torch.cat((result.pos_gt_labels, negatives))


def _point_loss(head: Any, predicted: Tensor, keypoints: Tensor, truth: InstanceData, meta: dict) -> dict[str, Tensor]:
    points = torch.cat((torch.zeros_like(keypoints[:, :1]), keypoints[:, 1:]), 1)
    targets = head.get_targets(points, [truth])
    if meta.get(IGNORE_NEGATIVES):
        targets['seg_targets'] = torch.where(targets['seg_targets'] > 0, targets['seg_targets'], -1)
    return head.loss({'seg_preds': predicted}, targets)


def _roi_targets(head: Any, result: Any, truth: InstanceData, meta: dict) -> list[Tensor]:
    """Return the box head's targets with the weights of the frame's boxes; those of RoIs that touch no box stay 1."""
    targets = list(head.bbox_head.get_targets([result], head.train_cfg))
    label_weights, box_weights = targets[4], targets[5]
    weights = truth.get('weights')
    if weights is not None and len(weights):
        boxes = truth.bboxes_3d
        overlaps = boxes.overlaps(type(boxes)(result.bboxes), boxes)
        best, nearest = overlaps.max(1)
        anchor_weights = torch.where(best > 0, weights.to(best)[nearest], torch.ones_like(best))
        label_weights, box_weights = label_weights * anchor_weights, box_weights * anchor_weights
    if meta.get(IGNORE_NEGATIVES):
        label_weights = label_weights * (result.iou > POSITIVE_ROI_IOU)
    targets[4], targets[5] = label_weights, box_weights
    return targets


class WeightedAnchorTargets:
    """What makes an anchor head of MMDetection3D respect the weights of boxes; stands before it among the bases."""

    def anchor_target_3d(
        self, anchor_list: list, batch_gt_instances_3d: list, batch_input_metas: list, **kwargs: Any
    ) -> tuple:
        """Return the stock targets with the weights of boxes applied.

        Args:
            anchor_list: Anchors of each frame.
            batch_gt_instances_3d: Boxes of each frame, perhaps with ``weights``.
            batch_input_metas: Metainfo of each frame, perhaps with ``ignore_negatives``.
            **kwargs: As in the stock head.
        """
        stock = super().anchor_target_3d
        targets = stock(anchor_list, batch_gt_instances_3d, batch_input_metas, **kwargs)
        return weighted_anchor_targets(self, anchor_list, batch_gt_instances_3d, batch_input_metas, targets)


def weighted_anchor_targets(
    head: Any, anchors: Sequence[Tensor], truths: Sequence[InstanceData], metas: Sequence[dict], targets: tuple
) -> tuple:
    """Apply the weights of boxes and ``ignore_negatives`` to the RPN's targets.

    A positive anchor belongs to the box that its own regression target decodes to, so nothing has to be known about
    the assigner. Direction targets keep their weight.

    Args:
        head: RPN head with one feature level.
        anchors: ``(N, 7)`` anchors of each frame.
        truths: Boxes of each frame.
        metas: Metainfo of each frame.
        targets: What ``anchor_target_3d`` returned; changed in place where a frame has weights.
    """
    labels, label_weights, box_targets, box_weights = (kind[0] for kind in targets[:4])
    for frame, (truth, meta) in enumerate(zip(truths, metas)):
        weights = truth.get('weights')
        positive = (labels[frame] >= 0) & (labels[frame] < head.num_classes)
        if weights is not None and positive.any():
            positive_boxes = head.bbox_coder.decode(
                anchors[frame].reshape(-1, 7)[positive], box_targets[frame][positive]
            )
            boxes = truth.bboxes_3d
            boxes = boxes if isinstance(boxes, Tensor) else boxes.tensor.to(positive_boxes.device)
            own = weights.to(positive_boxes)[torch.cdist(positive_boxes[:, :6], boxes[:, :6]).argmin(1)]
            label_weights[frame][positive] *= own
            box_weights[frame][positive] *= own[:, None]
        if meta.get(IGNORE_NEGATIVES):
            label_weights[frame][~positive] = 0
    return targets
