"""Methods that log how good their rule for pseudo labels is, measured on labelled frames."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ssal3d.data.boxes import bottom_to_gravity
from ssal3d.errors import UserError
from ssal3d.evaluation.box_precision import count_right
from ssal3d.semi.detector import Losses, SemiDetector3D, progress
from ssal3d.semi.pseudo_labels import precision_statistics


class PseudoLabelMonitor(SemiDetector3D):
    """Compares, every few iterations, the pseudo labels that labelled frames would get with their annotations.

    These frames are learnt from, so the share of right labels is higher than on frames that nobody labelled. Subclasses
    implement `predict_pseudo_labels`, `unlabelled_frames` and `unlabelled_losses`.

    Args:
        precision_interval: Iterations between two such evaluations.
        **kwargs: As for `SemiDetector3D`.
    """

    def __init__(self, precision_interval: int = 50, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if precision_interval < 1:
            raise UserError(f'precision_interval: found {precision_interval}, expected at least 1 iteration')
        self.precision_interval = precision_interval

    @abstractmethod
    def predict_pseudo_labels(self, points: Sequence[Tensor], samples: Sequence[Any]) -> list[tuple[Tensor, Tensor]]:
        """Return the boxes ``(N, 7)``, gravity-centred, and classes ``(N,)`` that the rule takes in each frame.

        Modes and buffers must be the same afterwards.

        Args:
            points: Clouds.
            samples: Their data samples; only the metainfo is used.

        Returns:
            One pair per frame; nothing if the rule is not known.
        """

    def loss(self, points: Mapping[str, Sequence[Tensor]], samples: Mapping[str, Sequence[Any]]) -> Losses:
        """Return the losses, every ``precision_interval`` iterations with `labelled_precision`.

        Args:
            points: Clouds by branch.
            samples: Data samples by branch.
        """
        losses = super().loss(points, samples)
        if samples.get('labelled') and progress()[0] % self.precision_interval == 0:
            losses |= self.labelled_precision(points['labelled'], samples['labelled'])
        return losses

    @torch.no_grad()
    def labelled_precision(self, points: Sequence[Tensor], samples: Sequence[Any]) -> Losses:
        """Return by class the share of would-be pseudo labels of labelled frames that overlap a true box (BEV, 0.5).

        Changes neither weights, statistics and modes nor the random numbers that follow. Classes without pseudo label
        are left out.

        Args:
            points: Labelled clouds as the student sees them, pasted objects included.
            samples: Their data samples with annotations.
        """
        devices = [points[0].device] if points[0].is_cuda else []
        with torch.random.fork_rng(devices):
            pseudo_labels = self.predict_pseudo_labels(points, samples)
        right, total = torch.zeros(2, len(self.classes), dtype=torch.int64, device=points[0].device)
        for (boxes, labels), sample in zip(pseudo_labels, samples):
            truth = sample.gt_instances_3d
            counts = count_right(
                boxes, labels, bottom_to_gravity(truth.bboxes_3d.tensor), truth.labels_3d, len(self.classes)
            )
            right, total = right + counts[0], total + counts[1]
        return precision_statistics(right, total, self.classes)
