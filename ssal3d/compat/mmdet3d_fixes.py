"""Defects of MMDetection3D and MMDetection: frames without points, objects or proposals; wrong rows and indices."""

import inspect
from functools import lru_cache, wraps
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ssal3d.compat.fix import Fix, replace_everywhere
from ssal3d.ops.rois import stack_rois


def _empty_frames_are_lost() -> bool:
    from mmdet3d.models.detectors import PointVoxelRCNN

    return "voxel_dict['coors'][-1, 0]" in inspect.getsource(PointVoxelRCNN.extract_feat)


def _give_empty_frames_a_point() -> None:
    from mmdet3d.models.data_preprocessors import Det3DDataPreprocessor

    collate = Det3DDataPreprocessor.collate_data

    @wraps(collate)
    def collate_frames(self: Any, data: dict) -> dict:
        if getattr(self, 'voxel', False) and self.voxel_type == 'hard' and 'points' in data['inputs']:
            limits = self.voxel_layer.point_cloud_range
            clouds = [with_point_in_range(points, limits) for points in data['inputs']['points']]  # before they move
            data = {**data, 'inputs': {**data['inputs'], 'points': clouds}}
        return collate(self, data)

    Det3DDataPreprocessor.collate_data = collate_frames


def with_point_in_range(points: Tensor, limits: list[float]) -> Tensor:
    """Return the points, with one of zero features at the centre of the range if none lies in it.

    Args:
        points: ``(N, C)`` points, x, y, z first.
        limits: Low x, y, z and high x, y, z.
    """
    low, high = _limits(tuple(limits), points.device, points.dtype)
    if ((points[:, :3] >= low) & (points[:, :3] < high)).all(dim=1).any():
        return points
    single = points.new_zeros((1, points.shape[1]))
    single[0, :3] = (low + high) / 2
    return torch.cat((points, single))


@lru_cache(maxsize=16)
def _limits(limits: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return low and high x, y, z, ``(2, 3)``, copied to a device once."""
    return torch.tensor(limits, device=device, dtype=dtype).view(2, 3)


def _rows_are_taken_as_they_come() -> bool:
    return True  # true of every release so far; the test of this fix shows it


def _put_rows_in_order() -> None:
    from mmdet3d.models.middle_encoders import SparseEncoder

    forward = SparseEncoder.forward

    @wraps(forward)
    def forward_in_order(self: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = forward(self, *args, **kwargs)
        if not self.return_middle_feats:
            return outputs
        dense, levels = outputs
        shape = list(self.sparse_shape)  # levels at the resolution of the input keep the rows of the input
        return dense, [level if list(level.spatial_shape) == shape else in_row_order(level) for level in levels]

    SparseEncoder.forward = forward_in_order


def in_row_order(sparse: Any) -> Any:
    """Return a sparse tensor with its rows sorted by frame, z, y, x, without the bookkeeping of convolutions.

    Set abstraction takes the first rows for those of the first frame, and a ball query the first neighbours that it
    meets, but the order of the rows behind a strided convolution is undefined.

    Args:
        sparse: ``SparseConvTensor`` of spconv or mmcv.
    """
    indices = sparse.indices
    frame, z, y, x = indices.long().unbind(1)
    shape = sparse.spatial_shape
    place = ((frame * shape[0] + z) * shape[1] + y) * shape[2] + x
    if place.device.type == 'cpu' and bool((place[1:] > place[:-1]).all()):
        return sparse  # on a GPU the question would cost more than the answer
    order = place.argsort()
    return type(sparse)(sparse.features[order], indices[order], shape, sparse.batch_size)


def _frames_without_proposals_have_fewer_columns() -> bool:
    from mmdet3d.structures import bbox3d2roi

    return bbox3d2roi([torch.zeros(0, 7)]).shape[1] != 8


def _give_no_proposals_all_columns() -> None:
    from mmdet3d.structures import bbox3d2roi

    replace_everywhere(bbox3d2roi, stack_rois)


def _no_targets_have_four_columns() -> bool:
    return _sampling_result(torch.zeros(0, 7)).pos_gt_bboxes.shape[1] != 7


def _sampling_result(gt_boxes: Tensor) -> Any:
    from mmdet.models.task_modules import AssignResult, SamplingResult

    none = torch.zeros(0, dtype=torch.long)
    assigned = AssignResult(len(gt_boxes), torch.zeros(1, dtype=torch.long), torch.zeros(1), torch.zeros(1))
    return SamplingResult(none, none, torch.zeros(1, 7), gt_boxes, assigned, torch.zeros(1, dtype=torch.bool))


def _keep_columns_of_no_targets() -> None:
    from mmdet.models.task_modules import SamplingResult

    init = SamplingResult.__init__

    @wraps(init)
    def init_any_width(
        self: Any, pos_inds: Tensor, neg_inds: Tensor, priors: Tensor, gt_bboxes: Any, *args: Any, **kwargs: Any
    ) -> None:
        init(self, pos_inds, neg_inds, priors, gt_bboxes, *args, **kwargs)
        if isinstance(gt_bboxes, Tensor) and gt_bboxes.ndim == 2 and len(gt_bboxes) == 0:
            self.pos_gt_bboxes = gt_bboxes

    SamplingResult.__init__ = init_any_width


def _negatives_are_indexed_twice() -> bool:
    """One positive proposal, then one negative: asking for two negatives must give proposal 1 twice."""
    from mmdet3d.models.task_modules.samplers import IoUNegPiecewiseSampler

    sampler = IoUNegPiecewiseSampler(2, 0.5, neg_piece_fractions=[0.8, 0.2], neg_iou_piece_thrs=[0.55, 0.1])
    assigned = SimpleNamespace(gt_inds=torch.tensor([1, 0]), max_overlaps=torch.tensor([0.9, 0.0]))
    return sampler._sample_neg(assigned, 2).tolist() != [1, 1]


def _index_negatives_once() -> None:
    """Show the sampler the negatives alone, where position and index are the same, and translate its choice."""
    from mmdet3d.models.task_modules.samplers import IoUNegPiecewiseSampler

    sample_neg = IoUNegPiecewiseSampler._sample_neg

    @wraps(sample_neg)
    def sample_among_negatives(self: Any, assign_result: Any, num_expected: int, **kwargs: Any) -> Tensor:
        negatives = (assign_result.gt_inds == 0).nonzero().view(-1)
        alone = SimpleNamespace(
            gt_inds=assign_result.gt_inds[negatives], max_overlaps=assign_result.max_overlaps[negatives]
        )
        return negatives[sample_neg(self, alone, num_expected, **kwargs)]

    IoUNegPiecewiseSampler._sample_neg = sample_among_negatives


def _boxes_are_taken_apart() -> bool:
    from mmengine.structures import InstanceData

    return 'slice_list.append(slice(index, None, len(v)))' in inspect.getsource(InstanceData.__getitem__)


def _take_boxes_at_once() -> None:
    """Let upstream index all that is no box, and the boxes index themselves."""
    from mmdet3d.structures import BaseInstance3DBoxes
    from mmengine.structures import InstanceData

    take = InstanceData.__getitem__

    @wraps(take)
    def take_rows(self: Any, item: Any) -> Any:
        boxes = {name: value for name, value in self.items() if isinstance(value, BaseInstance3DBoxes)}
        is_mask = isinstance(item, Tensor) and item.dtype == torch.bool
        if not boxes or not isinstance(item, Tensor) or (is_mask and item.shape != (len(self),)):
            return take(self, item)  # which also says that a mask has another length
        rows = item.nonzero().view(-1) if is_mask else item  # once, where every field would wait for the device
        others = {name: value for name, value in self.items() if name not in boxes}
        found = take(self.__class__(metainfo=self.metainfo, **others), rows)
        for name, value in boxes.items():
            found[name] = value[rows.to(value.device)]
        return found

    InstanceData.__getitem__ = take_rows


FIXES = (
    Fix(
        name='frames-without-points',
        problem='The number of frames is read off the last voxel: a last frame without points in range stops the run.',
        link='https://github.com/open-mmlab/OpenPCDet/issues/1518',
        needs=('mmdet3d', 'mmcv._ext'),
        is_needed=_empty_frames_are_lost,
        apply=_give_empty_frames_a_point,
    ),
    Fix(
        name='sparse-row-order',
        problem="Set abstraction takes sparse rows to stand frame by frame; PV-RCNN pools other frames' voxels if they do not.",
        link='https://github.com/open-mmlab/mmdetection3d/blob/v1.4.0/mmdet3d/models/middle_encoders/voxel_set_abstraction.py#L305',
        needs=('mmdet3d', 'mmcv._ext'),
        is_needed=_rows_are_taken_as_they_come,
        apply=_put_rows_in_order,
    ),
    Fix(
        name='frames-without-proposals',
        problem='No proposals get seven columns instead of eight: two-stage detectors fail on a batch with such a frame.',
        link='https://github.com/open-mmlab/mmdetection3d/blob/v1.4.0/mmdet3d/structures/ops/transforms.py#L44',
        needs=('mmdet3d', 'mmcv._ext'),
        is_needed=_frames_without_proposals_have_fewer_columns,
        apply=_give_no_proposals_all_columns,
    ),
    Fix(
        name='frames-without-objects',
        problem='No target boxes get four columns instead of seven: PV-RCNN fails on a batch with a frame without objects.',
        link='https://github.com/open-mmlab/mmdetection/blob/v3.3.0/mmdet/models/task_modules/samplers/sampling_result.py#L101',
        needs=('mmdet3d', 'mmcv._ext'),
        is_needed=_no_targets_have_four_columns,
        apply=_keep_columns_of_no_targets,
    ),
    Fix(
        name='negative-proposals',
        problem='With too few negative proposals the sampler takes positions among the negatives for proposal indices.',
        link='https://github.com/open-mmlab/mmdetection3d/blob/v1.4.0/mmdet3d/models/task_modules/samplers/iou_neg_piecewise_sampler.py#L113',
        needs=('mmdet3d', 'mmcv._ext'),
        is_needed=_negatives_are_indexed_twice,
        apply=_index_negatives_once,
    ),
)
PREFERENCES = (
    Fix(
        name='boxes-one-by-one',
        problem='Indexing instances makes every 3D box an object of its own: over a thousand copies a step of PV-RCNN.',
        link='https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/structures/instance_data.py#L218',
        needs=('mmdet3d', 'mmcv._ext'),
        is_needed=_boxes_are_taken_apart,
        apply=_take_boxes_at_once,
    ),
)
