"""HSSDA: pseudo labels of three levels and patches that change places.

Hierarchical Supervision and Shuffle Data Augmentation (Liu et al. 2023, arXiv 2304.01464). Labels of the high level
come with the frame, see `ssal3d.semi.hssda.mining`; here the teacher adds those of the middle level and removes the
points of the low one.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from ssal3d.data.boxes import bottom_to_gravity, gravity_to_bottom
from ssal3d.errors import UserError, unknown_name
from ssal3d.models.protocol import FRAME_LOSSES, REFINED_ROIS, RPN_SCORES, FrameOutput
from ssal3d.ops.torch_boxes import best_bev_iou
from ssal3d.semi.affine import Affine3D
from ssal3d.semi.detector import Losses, SemiDetector3D, in_mode, mean_losses, with_boxes
from ssal3d.semi.hssda.dataset import UNLABELLED
from ssal3d.semi.hssda.levels import (
    DEFAULTS,
    NO_MID,
    RAW_SCORE,
    LevelRules,
    ScoredBoxes,
    Thresholds,
    points_to_remove,
    step_labels,
    view_levels,
)
from ssal3d.semi.hssda.shuffle import ShuffleSparseEncoder, check_quadrants, draw_permutation, shuffle_points
from ssal3d.semi.pseudo_labels import class_statistics

ONLINE, FROM_LAST_MINING = 'online', 'from_last_mining'
MID_LEVELS = (ONLINE, FROM_LAST_MINING, 'none')
PERMUTATION = 'permutation'  # metainfo key: how a frame's patches change places


class TeacherViews(NamedTuple):
    """What the teacher says of a frame, all in the frame of reference of the recorded cloud.

    Attributes:
        original: Predictions on the recorded cloud.
        other: Predictions on the second view, mapped back; empty if it was not asked for.
        raw: ``(R, 7)`` gravity-centred boxes on the recorded cloud before suppression.
    """

    original: ScoredBoxes
    other: ScoredBoxes
    raw: Tensor


class WeightedLabels(NamedTuple):
    """Labels of a frame: ``(K, 7)`` gravity-centred boxes, ``(K,)`` classes, ``(K,)`` weights."""

    boxes: Tensor
    classes: Tensor
    weights: Tensor

    def joined(self, boxes: Tensor, classes: Tensor, weights: Tensor) -> 'WeightedLabels':
        """Return these labels followed by others."""
        return WeightedLabels(
            torch.cat((self.boxes, boxes)), torch.cat((self.classes, classes)), torch.cat((self.weights, weights))
        )


@MODELS.register_module()
class HSSDA(SemiDetector3D):
    """Learns all frames alike: labelled ones from annotations, the others from mined and temporary labels.

    All frames of a batch count the same, however many of them are labelled. Frames of the branch ``unlabelled`` come as
    recorded; they are changed here, in this order: low-level points are removed, objects are pasted, mirror, rotation,
    scale, crop to the range, change of patches.

    Args:
        mid_level: Where the temporary labels with weight ``s r`` come from. ``'online'`` (released): the teacher
            predicts every unlabelled frame twice in each step. ``'from_last_mining'``: the last mining found them by
            the same rule, with the teacher of that time. ``'none'``: only mined labels are used.
        low_level: Remove the points of boxes that the teacher proposes where there is no label. Without ``'online'``
            the teacher predicts every unlabelled frame once in each step for this; without both, never.
        no_mid: Classes without labels of the middle level.
        shuffle: Let patches of unlabelled frames change places in the 3D backbone, which must be a
            `ShuffleSparseEncoder`.
        second_view: ``rotation`` and ``scale`` ranges of the teacher's second view, which is always mirrored (y -> -y);
            fixed for each frame.
        augmentation: Options of `Affine3D.random` for what the student sees of unlabelled frames.
        seed: Seed of the second views.
        **kwargs: As for `SemiDetector3D`.
    """

    needs = frozenset((FRAME_LOSSES, RPN_SCORES, REFINED_ROIS))
    thresholds: Tensor
    mid: Tensor

    def __init__(
        self,
        mid_level: str = 'online',
        low_level: bool = True,
        no_mid: Sequence[str] = NO_MID,
        shuffle: bool = True,
        second_view: Mapping[str, Any] | None = None,
        augmentation: Mapping[str, Any] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if mid_level not in MID_LEVELS:
            raise unknown_name('mid_level of HSSDA', mid_level, list(MID_LEVELS))
        self.mid_level, self.wants_low, self.shuffle = mid_level, low_level, shuffle
        self.second_view = {'rotation': (-np.pi / 4, np.pi / 4), 'scale': (0.91, 1.12), **(second_view or {})}
        self.augmentation, self.seed = dict(augmentation or {}), seed
        self.no_mid = tuple(no_mid)
        voxels = kwargs['data_preprocessor']['voxel_layer']
        self.range, self.voxel_size = list(voxels['point_cloud_range']), list(voxels['voxel_size'])
        if shuffle:
            check_quadrants(self.range, self.voxel_size)
            if not isinstance(self.student.middle_encoder, ShuffleSparseEncoder):
                encoder = type(self.student.middle_encoder).__name__
                raise UserError(
                    f'middle_encoder of HSSDA: found {encoder}, expected ShuffleSparseEncoder; change its type or set '
                    'shuffle=False'
                )
            if getattr(self.student.points_encoder, 'voxel_center_as_source', False):
                raise UserError(
                    'points_encoder of HSSDA: found key points from voxels, expected raw points, which are not '
                    'shuffled; set voxel_center_as_source=False in it, or shuffle=False'
                )
        rules = LevelRules.of({name: DEFAULTS for name in self.classes}, self.classes, self.no_mid)
        # Of the last mining, which keeps them with the labels; a checkpoint needs no copy.
        self.register_buffer('thresholds', rules.thresholds, persistent=False)
        self.register_buffer('mid', rules.mid, persistent=False)

    def set_thresholds(self, thresholds: Thresholds) -> None:
        """Use other thresholds from now on.

        Args:
            thresholds: (high, low) by class name and cue.
        """
        self.thresholds.copy_(LevelRules.of(thresholds, self.classes, self.no_mid).thresholds)

    def view_of(self, frame_id: str) -> Affine3D:
        """Return the second view of a frame, the same in the whole run."""
        key = np.random.SeedSequence((self.seed, zlib.crc32(frame_id.encode()))).generate_state(1)
        generator = torch.Generator().manual_seed(int(key[0]))
        return Affine3D.random(generator, flip_x=1.0, **self.second_view)

    @torch.no_grad()
    def teacher_views(
        self, points: Sequence[Tensor], samples: Sequence[Any], second: bool = True
    ) -> list[TeacherViews]:
        """Let the teacher predict frames once or twice, with the test settings of voxelisation.

        Args:
            points: Recorded clouds.
            samples: Their data samples; only the metainfo is used.
            second: Whether to look at the second view as well.
        """
        frames = len(points)
        views = [self.view_of(sample.metainfo['frame_id']) for sample in samples]
        clouds = [self.crop_to_range(cloud) for cloud in points]
        if second:
            clouds += [self.crop_to_range(view.points(cloud)) for view, cloud in zip(views, points)]
        with in_mode(self.data_preprocessor, training=False):
            predicted = self.teacher_samples(clouds, [*samples, *samples] if second else samples)
        predictions_of = [sample.pred_instances_3d for sample in predicted]
        refined = [sample.refined_rois for sample in predicted[:frames]]
        return [
            TeacherViews(
                _scored(predictions),
                _scored(predictions_of[frames + frame], view.inverse()) if second else _scored(predictions[:0]),
                bottom_to_gravity(raw.bboxes_3d[raw.scores_3d > RAW_SCORE]),
            )
            for frame, (predictions, raw, view) in enumerate(zip(predictions_of, refined, views))
        ]

    def crop_to_range(self, points: Tensor) -> Tensor:
        """Return the points within the detection range, its surface excluded as in mmdet3d."""
        low, high = points.new_tensor(self.range[:3]), points.new_tensor(self.range[3:])
        return points[((points[:, :3] > low) & (points[:, :3] < high)).all(1)]

    def unlabelled_frames(
        self, points: Mapping[str, Sequence[Tensor]], samples: Mapping[str, Sequence[Any]]
    ) -> tuple[list[Tensor], list[Any]]:
        """Return the changed clouds with stored, temporary and pasted labels; see the class."""
        clouds, frames = points[UNLABELLED], samples[UNLABELLED]
        views: Sequence[TeacherViews | None] = [None] * len(frames)
        twice = self.mid_level == ONLINE
        if twice or self.wants_low:
            views = self.teacher_views(clouds, frames, second=twice)
        students = [self._student_view(*frame) for frame in zip(clouds, frames, views)]
        students = [student for student in students if len(student[0])]  # nothing may be left in the range
        return [cloud for cloud, _ in students], [sample for _, sample in students]

    def _student_view(self, points: Tensor, sample: Any, view: TeacherViews | None) -> tuple[Tensor, Any]:
        """Return what the student sees of an unlabelled frame; draws from torch's global generator on the CPU."""
        stored = sample.gt_instances_3d
        labels = WeightedLabels(bottom_to_gravity(stored.bboxes_3d.tensor), stored.labels_3d, stored.weights)
        mid = InstanceData(scores=labels.weights[:0], labels=labels.classes[:0])
        removed = points.new_zeros(())
        if self.mid_level == FROM_LAST_MINING:
            mid = sample.mined_mid
            labels = labels.joined(mid.boxes, mid.labels, mid.weights)
        elif view is not None and self.mid_level == ONLINE:
            rules = LevelRules(self.thresholds, self.mid)
            levels = view_levels(view.original, view.other, labels.boxes, rules)
            found, weights = step_labels(view.original, levels, rules)
            labels = labels.joined(found.boxes, found.labels, weights)
            mid = InstanceData(scores=found.s, labels=found.labels)
        if view is not None and self.wants_low:
            low = points_to_remove(points, view.raw, labels.boxes)
            points, removed = points[~low], low.sum().to(points.dtype)
        if 'candidates' in sample:
            points, labels = paste_candidates(points, labels, sample.candidates, sample.candidate_points)
        move = Affine3D.random(**self.augmentation)
        points = self.crop_to_range(move.points(points))
        points = points[torch.randperm(len(points)).to(points.device)]
        boxes = move.boxes(labels.boxes)
        limits = boxes.new_tensor(self.range)
        inside = ((boxes[:, :2] > limits[:2]) & (boxes[:, :2] < limits[3:5])).all(1)  # as ObjectRangeFilter
        meta = {PERMUTATION: draw_permutation()} if self.shuffle else {}
        result = with_boxes(
            sample, gravity_to_bottom(boxes[inside]), labels.classes[inside], labels.weights[inside], **meta
        )
        result.mid, result.removed = mid, InstanceData(points=removed[None])
        return points, result

    def frame_outputs(self, points: Sequence[Tensor], samples: Sequence[Any]) -> list[FrameOutput]:
        """Return the student's losses and outputs; its 3D backbone sees unlabelled frames with patches exchanged."""
        permutations = [sample.metainfo.get(PERMUTATION) for sample in samples]
        if all(permutation is None for permutation in permutations):
            return super().frame_outputs(points, samples)
        shuffled = [
            cloud if permutation is None else shuffle_points(cloud, permutation, self.range, self.voxel_size)
            for cloud, permutation in zip(points, permutations)
        ]
        inputs = self.data_preprocessor.voxelised(shuffled, samples)
        inputs['points'] = list(points)  # key points are taken from the scene as it is
        with self.student.middle_encoder.unshuffling(permutations):
            return self.student.frame_outputs(inputs, samples)

    def unlabelled_losses(
        self, labelled: Sequence[FrameOutput], outputs: Sequence[FrameOutput], samples: Sequence[Any]
    ) -> Losses:
        """Return the mean losses of all frames under their ordinary names, which replace those of the labelled ones."""
        unlabelled = [
            {name: value.sum() * self.unlabelled_weight for name, value in output.losses.items()} for output in outputs
        ]
        mid = [sample.mid for sample in samples]
        statistics = class_statistics(
            torch.cat([labels.scores for labels in mid]), torch.cat([labels.labels for labels in mid]), self.classes
        )
        statistics['pseudo/removed_points'] = torch.cat([sample.removed.points for sample in samples]).mean()
        return mean_losses([*(output.losses for output in labelled), *unlabelled]) | statistics


def paste_candidates(
    points: Tensor, labels: WeightedLabels, candidates: InstanceData, candidate_points: InstanceData
) -> tuple[Tensor, WeightedLabels]:
    """Return a cloud and its labels with the candidates that touch no label pasted in, with weight 1.

    Args:
        points: ``(N, F)`` points; those inside pasted boxes go.
        labels: Labels of the frame.
        candidates: ``boxes`` (gravity-centred) and ``labels`` that touch no other candidate.
        candidate_points: ``points`` and ``owner``, the candidate that each belongs to.
    """
    fits = best_bev_iou(candidates.boxes, labels.boxes) == 0
    boxes = candidates.boxes[fits]
    room = ~points_to_remove(points, boxes, boxes[:0])
    points = torch.cat((candidate_points.points[fits[candidate_points.owner]], points[room]))
    return points, labels.joined(boxes, candidates.labels[fits], labels.weights.new_ones(len(boxes)))


def _scored(found: InstanceData, move: Affine3D | None = None) -> ScoredBoxes:
    """Return predictions with gravity-centred boxes, transformed by ``move`` if it is given."""
    boxes = bottom_to_gravity(found.bboxes_3d.tensor)
    return ScoredBoxes(
        boxes if move is None else move.boxes(boxes), found.scores_3d, found.rpn_scores_3d, found.labels_3d
    )
