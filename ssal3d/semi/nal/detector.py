"""NAL in 3D: confident boxes become labels once, mirrored views must agree.

"Not All Labels Are Equal" (Elezi et al. 2022, arXiv 2106.11921) is a 2D method; the adaptation is ours, see
docs/deviations.md#nal.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet3d.registry import MODELS, TRANSFORMS
from torch import Tensor

from ssal3d.class_names import per_class
from ssal3d.data.boxes import bottom_to_gravity, to_gravity_array, to_lidar_boxes
from ssal3d.models.protocol import ANCHOR_MAPS, FIRST_STAGE_ONLY, FRAME_LOSSES, IGNORE_NEGATIVES, FrameOutput
from ssal3d.ops.boxes import points_per_box
from ssal3d.predictions import read_predictions
from ssal3d.semi.affine import Affine3D
from ssal3d.semi.detector import Losses, in_mode, mean_losses, progress, with_boxes, without_boxes
from ssal3d.semi.nal.mirror import check_mirror_symmetry, mirror_consistency, mirror_rpn_maps
from ssal3d.semi.pseudo_label_monitor import PseudoLabelMonitor
from ssal3d.semi.pseudo_labels import class_statistics
from ssal3d.semi.ramps import nal_ramp

MIRROR = Affine3D(flip_x=True)


def auto_labels(
    scores: np.ndarray, labels: np.ndarray, num_points: np.ndarray, tau: np.ndarray, min_points: int
) -> np.ndarray:
    """Return which boxes become labels: score of at least tau, and enough points.

    Args:
        scores: ``(K,)`` scores, float32 in [0, 1].
        labels: ``(K,)`` classes.
        num_points: ``(K,)`` points inside.
        tau: ``(C,)`` lowest score of each class.
        min_points: Points that a box must hold.

    Returns:
        ``(K,)`` mask.

    >>> scores = np.array([0.9, 0.8999, 0.95], np.float32)
    >>> auto_labels(scores, np.zeros(3, int), np.array([5, 9, 4]), np.array([0.9]), 5).tolist()
    [True, False, False]
    """
    return (scores >= tau.astype(np.float32)[labels]) & (num_points >= min_points)


@TRANSFORMS.register_module()
class LoadAutoLabels(BaseTransform):
    """Gives an unlabelled frame the confident boxes that a detector predicted for it before training.

    Args:
        predictions: Folder of predictions with the column ``num_points``.
        tau: Lowest score of a label, one value or by class name.
        min_points: Points that a label must hold.
        classes: Class names in the order of the data set's labels.
    """

    def __init__(
        self, predictions: str, tau: float | Mapping[str, float], classes: Sequence[str], min_points: int = 5
    ) -> None:
        self.predictions, self.tau, self.min_points, self.classes = predictions, tau, min_points, tuple(classes)

    @cached_property
    def labels(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Boxes (gravity-centred) and labels by frame id; read once in each loader process."""
        predictions = read_predictions(self.predictions, ('num_points',))
        tau = per_class(self.tau, predictions.classes, 'tau')
        taken = auto_labels(predictions.scores, predictions.labels, predictions['num_points'], tau, self.min_points)
        lookup = np.array([self.classes.index(name) for name in predictions.classes])
        return {
            str(frame_id): (predictions.boxes[rows][taken[rows]], lookup[predictions.labels[rows][taken[rows]]])
            for frame_id, rows in (
                (predictions.frame_ids[frame], predictions.boxes_of(frame)) for frame in range(len(predictions))
            )
        }

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Set ``gt_bboxes_3d`` and ``gt_labels_3d`` to the auto labels; a frame without predictions has none.

        Args:
            results: Sample with ``frame_id``.
        """
        boxes, labels = self.labels.get(results['frame_id'], (np.empty((0, 7)), np.empty(0, dtype=np.int64)))
        results['gt_bboxes_3d'], results['gt_labels_3d'] = to_lidar_boxes(boxes), labels.astype(np.int64)
        return results


@MODELS.register_module()
class NAL3D(PseudoLabelMonitor):
    """Learns labelled frames fully, auto-labelled ones near their labels only, and mirror consistency of all.

    Args:
        threshold: Class probability of an anchor, in either view, above which the views must agree.
        tau: The rule of `LoadAutoLabels`, for the log only: the share of right labels if the student now labelled the
            labelled frames. None logs nothing.
        min_points: Likewise.
        **kwargs: As for `PseudoLabelMonitor`; there is no teacher.

    Raises:
        UserError: If the detector's anchors are not symmetric about y = 0.
    """

    has_teacher = False
    needs = frozenset((FRAME_LOSSES, ANCHOR_MAPS))

    def __init__(
        self,
        threshold: float = 0.3,
        tau: float | Mapping[str, float] | None = None,
        min_points: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        anchors = self.student.anchor_generator
        check_mirror_symmetry(anchors.rotations, anchors.ranges)
        self.threshold, self.min_points = threshold, min_points
        self.tau = None if tau is None else per_class(tau, self.classes, 'tau')

    def predict_pseudo_labels(self, points: Sequence[Tensor], samples: Sequence[Any]) -> list[tuple[Tensor, Tensor]]:
        """Return what the student predicts with the test settings and the rule takes; nothing without ``tau``.

        Args:
            points: Clouds.
            samples: Their data samples.
        """
        if self.tau is None:
            return []
        with in_mode(self.data_preprocessor, training=False):
            predicted = self.predicted_samples(self.student, points, samples)
        frames = []
        for cloud, found in zip(points, (sample.pred_instances_3d for sample in predicted)):
            counts = points_per_box(cloud[:, :3].cpu().numpy(), to_gravity_array(found.bboxes_3d))
            scores, labels = found.scores_3d.cpu().numpy(), found.labels_3d.cpu().numpy()
            taken = torch.from_numpy(auto_labels(scores, labels, counts, self.tau, self.min_points)).to(cloud.device)
            frames.append((bottom_to_gravity(found.bboxes_3d.tensor[taken]), found.labels_3d[taken]))
        return frames

    def unlabelled_frames(
        self, points: Mapping[str, Sequence[Tensor]], samples: Mapping[str, Sequence[Any]]
    ) -> tuple[list[Tensor], list[Any]]:
        """Return the auto-labelled clouds, then the mirror images of all clouds."""
        clouds = [*points['labelled'], *points['student']]
        frames = []
        for view in samples['student']:
            truth = view.gt_instances_3d
            frames.append(with_boxes(view, truth.bboxes_3d.tensor, truth.labels_3d))
            frames[-1].set_metainfo({IGNORE_NEGATIVES: True})
        others = (*samples['labelled'], *samples['student'])
        mirrored = [without_boxes(sample, **{FIRST_STAGE_ONLY: True}) for sample in others]
        return [*points['student'], *map(MIRROR.points, clouds)], [*frames, *mirrored]

    def unlabelled_losses(
        self, labelled: Sequence[FrameOutput], outputs: Sequence[FrameOutput], samples: Sequence[Any]
    ) -> Losses:
        """Return the masked losses of auto-labelled frames and the consistency of all."""
        count = len(outputs) - (len(labelled) + len(outputs)) // 2
        originals, mirrored = [*labelled, *outputs[:count]], outputs[count:]
        losses = mean_losses([output.losses for output in outputs[:count]], prefix='unlabelled_')
        losses = {name: value * self.unlabelled_weight for name, value in losses.items()}
        scores, residuals = _maps(originals)
        mirrored_back = mirror_rpn_maps(*_maps(mirrored))
        distance = mirror_consistency(scores, residuals, *mirrored_back, threshold=self.threshold)
        losses['unlabelled_loss_mirror'] = nal_ramp(*progress()) * distance
        labels = torch.cat([sample.gt_instances_3d.labels_3d for sample in samples[:count]])
        return losses | class_statistics(torch.ones_like(labels, dtype=torch.float32), labels, self.classes)


def _maps(outputs: Sequence[FrameOutput]) -> tuple[Tensor, Tensor]:
    """Return the RPN's maps of several frames: ``(B, A * C, H, W)`` logits and ``(B, A * 7, H, W)`` residuals."""
    return (
        torch.stack([output.rpn_scores for output in outputs]),
        torch.stack([output.rpn_residuals for output in outputs]),
    )
