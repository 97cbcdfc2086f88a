"""What methods share whose pseudo labels are single boxes of their teacher."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ssal3d.data.boxes import bottom_to_gravity
from ssal3d.semi.affine import Affine3D
from ssal3d.semi.detector import Losses, without_boxes
from ssal3d.semi.pseudo_label_monitor import PseudoLabelMonitor
from ssal3d.semi.pseudo_labels import class_statistics


class TeacherLabels(PseudoLabelMonitor):
    """A method whose pseudo labels are boxes that its teacher finds on the recorded cloud, taken one by one.

    Subclasses implement `select_pseudo_labels` and `unlabelled_losses`.
    """

    @abstractmethod
    def select_pseudo_labels(self, found: InstanceData) -> Tensor:
        """Return which boxes become pseudo labels, ``(N,)`` bool.

        Args:
            found: Predictions of the teacher for one frame, N boxes.
        """

    def taken(self, points: Sequence[Tensor], samples: Sequence[Any], mode: str | None = None) -> list[InstanceData]:
        """Return the boxes of the teacher that become pseudo labels, by frame.

        Args:
            points: Clouds.
            samples: Their data samples; only the metainfo is used.
            mode: See `teacher_predictions`.
        """
        return [found[self.select_pseudo_labels(found)] for found in self.teacher_predictions(points, samples, mode)]

    def predict_pseudo_labels(self, points: Sequence[Tensor], samples: Sequence[Any]) -> list[tuple[Tensor, Tensor]]:
        """Return what is taken of the teacher's boxes in eval mode; in train mode its statistics would move.

        Args:
            points: Clouds.
            samples: Their data samples.
        """
        return [
            (bottom_to_gravity(pseudo_labels.bboxes_3d.tensor), pseudo_labels.labels_3d)
            for pseudo_labels in self.taken(points, samples, mode='eval')
        ]

    def unlabelled_frames(
        self, points: Mapping[str, Sequence[Tensor]], samples: Mapping[str, Sequence[Any]]
    ) -> tuple[list[Tensor], list[Any]]:
        """Return the augmented clouds; ``pseudo_instances_3d`` of their samples are the boxes taken, moved likewise.

        Args:
            points: Clouds of the branches ``teacher`` and ``student``.
            samples: Their data samples.
        """
        frames = []
        for pseudo_labels, view in zip(self.taken(points['teacher'], samples['teacher']), samples['student']):
            boxes = Affine3D.from_meta(view.metainfo).boxes(pseudo_labels.bboxes_3d.tensor)
            sample = without_boxes(view)
            sample.pseudo_instances_3d = InstanceData(
                bboxes_3d=view.metainfo['box_type_3d'](boxes),
                scores_3d=pseudo_labels.scores_3d,
                labels_3d=pseudo_labels.labels_3d,
            )
            frames.append(sample)
        return list(points['student']), frames

    def statistics(self, samples: Sequence[Any]) -> Losses:
        """Return number and mean score of the pseudo labels by class, for the log.

        Args:
            samples: The data samples that `unlabelled_frames` returned.
        """
        taken = [sample.pseudo_instances_3d for sample in samples]
        return class_statistics(
            torch.cat([pseudo_labels.scores_3d for pseudo_labels in taken]),
            torch.cat([pseudo_labels.labels_3d for pseudo_labels in taken]),
            self.classes,
        )
