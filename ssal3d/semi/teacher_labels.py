"""What methods share that take single boxes of their teacher as pseudo labels."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ssal3d.data.boxes import raised
from ssal3d.semi.affine import Affine3D
from ssal3d.semi.detector import Losses, SemiDetector3D, progress, without_boxes
from ssal3d.semi.hssda_levels import bev_iou
from ssal3d.semi.pseudo_labels import class_statistics


class TeacherLabels(SemiDetector3D):
    """A method whose pseudo labels are boxes that its teacher finds on the recorded cloud, taken one by one.

    Subclasses implement `takes` and `unlabelled_losses`.

    Args:
        precision_interval: Iterations between two looks at how many pseudo labels of labelled frames are right.
        **kwargs: As for `SemiDetector3D`.
    """

    def __init__(self, precision_interval: int = 50, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.precision_interval = precision_interval

    @abstractmethod
    def takes(self, found: InstanceData) -> Tensor:
        """Return which boxes become pseudo labels, ``(N,)`` bool.

        Args:
            found: Predictions of the teacher for one frame, N boxes.
        """

    def loss(self, points: Mapping[str, Sequence[Tensor]], samples: Mapping[str, Sequence[Any]]) -> Losses:
        """Return the losses, now and then with how many pseudo labels of the labelled frames are right.

        Args:
            points: Clouds by branch.
            samples: Data samples by branch.
        """
        losses = super().loss(points, samples)
        if samples.get('labelled') and progress()[0] % self.precision_interval == 0:
            losses |= self.labelled_precision(points['labelled'], samples['labelled'])
        return losses

    def labelled_precision(self, points: Sequence[Tensor], samples: Sequence[Any]) -> Losses:
        """Return by class the share of would-be pseudo labels of labelled frames that overlap a true box (BEV, 0.5).

        Changes nothing: the teacher predicts in eval mode. Classes without pseudo label are left out.

        Args:
            points: Labelled clouds as the student sees them, pasted objects included.
            samples: Their data samples with annotations.
        """
        right, total = torch.zeros(2, len(self.classes))
        for found, sample in zip(self.teacher_predictions(points, samples, mode='eval'), samples):
            taken, truth = self.takes(found), sample.gt_instances_3d
            boxes, labels = raised(found.bboxes_3d.tensor[taken]), found.labels_3d[taken]
            same = labels[:, None] == truth.labels_3d[None]
            overlaps = bev_iou(boxes, raised(truth.bboxes_3d.tensor.to(boxes))) * same
            hits = (overlaps > 0.5).any(1)
            total += torch.bincount(labels.cpu(), minlength=len(self.classes))
            right += torch.bincount(labels[hits].cpu(), minlength=len(self.classes))
        return {
            f'pseudo/{name}/precision_on_labelled': right[index] / total[index]
            for index, name in enumerate(self.classes)
            if total[index]
        }

    def unlabelled_frames(
        self, points: Mapping[str, Sequence[Tensor]], samples: Mapping[str, Sequence[Any]]
    ) -> tuple[list[Tensor], list[Any]]:
        """Return the augmented clouds; ``pseudo_instances_3d`` of their samples are the boxes taken, moved likewise.

        Args:
            points: Clouds of the branches ``teacher`` and ``student``.
            samples: Their data samples.
        """
        frames = []
        for found, view in zip(self.teacher_predictions(points['teacher'], samples['teacher']), samples['student']):
            taken = self.takes(found)
            boxes = Affine3D.from_meta(view.metainfo).boxes(found.bboxes_3d.tensor[taken])
            sample = without_boxes(view)
            sample.pseudo_instances_3d = InstanceData(
                bboxes_3d=view.metainfo['box_type_3d'](boxes),
                scores_3d=found.scores_3d[taken],
                labels_3d=found.labels_3d[taken],
            )
            frames.append(sample)
        return list(points['student']), frames

    def statistics(self, samples: Sequence[Any]) -> Losses:
        """Return number and mean score of the pseudo labels by class, for the log.

        Args:
            samples: The data samples that `unlabelled_frames` returned.
        """
        found = [sample.pseudo_instances_3d for sample in samples]
        return class_statistics(
            torch.cat([own.scores_3d for own in found]), torch.cat([own.labels_3d for own in found]), self.classes
        )
