"""Joint3D-style consistency: student and teacher must agree on where boxes are.

Joint3D itself is unpublished beyond its abstract; this is what its description and a left-over class of the S-SSAL
release suggest, without that class's faults.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from ssal3d.data.boxes import bottom_to_gravity
from ssal3d.models.protocol import FRAME_LOSSES, REFINED_BOXES, FrameOutput
from ssal3d.semi.detector import Losses, progress
from ssal3d.semi.joint3d.residuals import match_boxes, residual_consistency, symmetric_bernoulli_kl
from ssal3d.semi.ramps import linear_ramp
from ssal3d.semi.teacher_labels import TeacherLabels


@MODELS.register_module()
class ConsistencySSL3D(TeacherLabels):
    """Demands of unlabelled frames that refined RoIs match the teacher's boxes; nothing else is learnt from them.

    Args:
        t_score: Score above which a box of the teacher counts, one value or by class name.
        min_iou: BEV IoU from which a student's RoI and a teacher's box of the same class are a pair.
        score_weight: Weight of the divergence of the pairs' scores; 0 for none.
        ramp: Share of the run in which the weight rises from 0.
        **kwargs: As for `TeacherLabels`.
    """

    needs = frozenset((FRAME_LOSSES, REFINED_BOXES))

    def __init__(
        self,
        t_score: float | Mapping[str, float],
        min_iou: float = 0.1,
        score_weight: float = 1.0,
        ramp: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.register_buffer('t_score', self.by_class(t_score, 't_score'), persistent=False)
        self.min_iou, self.score_weight, self.ramp = min_iou, score_weight, ramp

    def select_pseudo_labels(self, found: InstanceData) -> Tensor:
        """Return which boxes are scored high enough."""
        return found.scores_3d > self.t_score[found.labels_3d]

    def unlabelled_losses(
        self, labelled: Sequence[FrameOutput], outputs: Sequence[FrameOutput], samples: Sequence[Any]
    ) -> Losses:
        """Return the consistency of boxes and scores, a mean over frames."""
        weight = self.unlabelled_weight * linear_ramp(*progress(), self.ramp)
        boxes, scores, paired = [], [], []
        for output, sample in zip(outputs, samples):
            pseudo_labels = sample.pseudo_instances_3d
            teacher, student = bottom_to_gravity(pseudo_labels.bboxes_3d.tensor), bottom_to_gravity(output.boxes)
            pairs = match_boxes(teacher, student.detach(), pseudo_labels.labels_3d, output.labels, self.min_iou)
            boxes.append(residual_consistency(teacher, student, pairs))
            divergence = symmetric_bernoulli_kl(
                pseudo_labels.scores_3d[pairs[:, 0]], output.logits.sigmoid()[pairs[:, 1]]
            )
            scores.append(divergence.sum() / max(len(pairs), 1))
            paired.append(float(len(pairs)))
        return {
            'unlabelled_loss_boxes': weight * torch.stack(boxes).mean(),
            'unlabelled_loss_scores': weight * self.score_weight * torch.stack(scores).mean(),
            'pseudo/pairs': torch.tensor(sum(paired) / len(paired), device=boxes[0].device),
            **self.statistics(samples),
        }
