"""3DIoUMatch: the teacher's boxes that pass two score thresholds are learnt as labels."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from ssal3d.models.protocol import FRAME_LOSSES, IGNORE_NEGATIVES, RPN_SCORES, FrameOutput
from ssal3d.semi.detector import Losses, mean_losses
from ssal3d.semi.pseudo_labels import keep_pseudo_boxes
from ssal3d.semi.teacher_labels import TeacherLabels


@MODELS.register_module()
class IoUMatch3D(TeacherLabels):
    """PV-RCNN variant of 3DIoUMatch (Wang et al. 2021, arXiv 2012.04355); see docs/deviations.md#3dioumatch.

    Args:
        t_iou: Score above which a box of a class may be a pseudo label, by class name.
        t_sem: RPN score above which it is one, for all classes.
        empty_pseudo: A frame without pseudo labels teaches nothing (``'skip'``) or that everything is background
            (``'all_background'``, as released, without a normaliser).
        teacher_mode: See `SemiDetector3D`; the authors found that ``'eval'`` gives bad results.
        **kwargs: As for `TeacherLabels`.
    """

    needs = frozenset((FRAME_LOSSES, RPN_SCORES))

    def __init__(
        self,
        t_iou: Mapping[str, float] | float,
        t_sem: float = 0.4,
        empty_pseudo: str = 'skip',
        teacher_mode: str = 'train',
        **kwargs: Any,
    ) -> None:
        super().__init__(teacher_mode=teacher_mode, **kwargs)
        self.t_sem, self.skip_empty = t_sem, empty_pseudo == 'skip'
        self.register_buffer('t_iou', self.by_class(t_iou, 't_iou'), persistent=False)

    def unlabelled_frames(
        self, points: Mapping[str, Sequence[Tensor]], samples: Mapping[str, Sequence[Any]]
    ) -> tuple[list[Tensor], list[Any]]:
        """Return the augmented clouds with the boxes taken as their ground truth.

        Args:
            points: Clouds of the branches ``teacher`` and ``student``.
            samples: Their data samples.
        """
        clouds, frames = super().unlabelled_frames(points, samples)
        for frame in frames:
            frame.gt_instances_3d = frame.pseudo_instances_3d
            frame.set_metainfo({IGNORE_NEGATIVES: self.skip_empty and not len(frame.pseudo_instances_3d)})
        return clouds, frames

    def select_pseudo_labels(self, found: InstanceData) -> Tensor:
        """Return which boxes pass both thresholds."""
        return keep_pseudo_boxes(found.scores_3d, found.rpn_scores_3d, found.labels_3d, self.t_iou, self.t_sem)

    def unlabelled_losses(
        self, labelled: Sequence[FrameOutput], outputs: Sequence[FrameOutput], samples: Sequence[Any]
    ) -> Losses:
        """Return the RPN's losses and the RoI boxes' losses of the unlabelled frames."""
        losses = mean_losses([output.losses for output in outputs], self.student.pseudo_label_losses, 'unlabelled_')
        losses = {name: value * self.unlabelled_weight for name, value in losses.items()}
        return losses | self.statistics(samples)
