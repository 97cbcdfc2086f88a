"""CenterPoint's head with the class logits of its boxes, for boxes without velocity, too."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet3d.models.dense_heads import CenterHead
from mmdet3d.models.utils import clip_sigmoid
from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from ssal3d.models.gradients import project_gradient


@MODELS.register_module()
class ActiveCenterHead(CenterHead):
    """Heat-map head whose results carry one-vs-all class logits as ``class_logits`` (N, C).

    The stock head's targets need a velocity; here boxes may have seven values, as in KITTI.
    """

    def get_targets_single(self, gt_instances_3d: InstanceData) -> tuple:
        """Return the stock targets of a frame; boxes without velocity count as standing.

        Args:
            gt_instances_3d: Boxes and labels.
        """
        boxes = gt_instances_3d.bboxes_3d
        if boxes.tensor.shape[1] == 7:
            standing = type(boxes)(functional.pad(boxes.tensor, (0, 2)), box_dim=9)
            gt_instances_3d = InstanceData(bboxes_3d=standing, labels_3d=gt_instances_3d.labels_3d)
        return super().get_targets_single(gt_instances_3d)

    def loss_by_feat(
        self, preds_dicts: Sequence[list[dict]], batch_gt_instances_3d: list[InstanceData], *args: Any, **kwargs: Any
    ) -> dict:
        """Return the stock losses; a head that predicts no velocity loses nothing by it.

        Args:
            preds_dicts: Maps by name of each task.
            batch_gt_instances_3d: Boxes and labels of each frame.
            *args: As in the stock head.
            **kwargs: As in the stock head.
        """
        for maps, *_ in preds_dicts:
            maps.setdefault('vel', torch.zeros_like(maps['reg']))
        return super().loss_by_feat(preds_dicts, batch_gt_instances_3d, *args, **kwargs)

    def predict_by_feat(
        self, preds_dicts: Sequence[list[dict]], batch_input_metas: list[dict], *args: Any, **kwargs: Any
    ) -> list[InstanceData]:
        """Return the stock results with the logits of the cell that each box came from.

        Args:
            preds_dicts: Maps by name of each task.
            batch_input_metas: One per frame.
            *args: As in the stock head.
            **kwargs: As in the stock head.
        """
        results = super().predict_by_feat(preds_dicts, batch_input_metas, *args, **kwargs)
        logits = torch.cat([maps['heatmap'] for maps, *_ in preds_dicts], dim=1).flatten(2)
        task_of = torch.arange(len(self.num_classes)).repeat_interleave(torch.tensor(self.num_classes))
        for frame, result in enumerate(results):
            tasks = task_of.to(result.labels_3d.device)[result.labels_3d.long()]
            cells = torch.zeros_like(tasks)
            for task, (maps, *_) in enumerate(preds_dicts):
                in_task = tasks == task
                cells[in_task] = self._cells(maps, frame, result.bboxes_3d.tensor[in_task, :2])
            result.class_logits = logits[frame].T[cells]
        return results

    def _cells(self, maps: dict[str, Tensor], frame: int, centres: Tensor) -> Tensor:
        """Return the flat index of the cell that each box came from: the one whose decoded centre is the box's."""
        coder = self.bbox_coder
        cells = coder._topk(maps['heatmap'][frame : frame + 1].sigmoid(), K=coder.max_num)[1][0]
        width = maps['heatmap'].shape[-1]
        corners = torch.stack((cells % width, cells // width), dim=1)
        offsets = maps['reg'][frame].flatten(1).T[cells]
        size, low = centres.new_tensor(coder.voxel_size[:2]), centres.new_tensor(coder.pc_range[:2])
        decoded = (corners + offsets) * coder.out_size_factor * size + low
        distances = torch.cdist(centres, decoded, compute_mode='donot_use_mm_for_euclid_dist')
        return cells[distances.argmin(1)] if len(centres) else cells[:0]

    def score_gradients(self, maps: Sequence[Tensor], projection: int | None, seed: int) -> Tensor:
        """Return the gradient of the convolutions that end in the heat maps (BADGE), one row per frame.

        The hypothetical label of a cell is what its score says: a centre if above 0.5; the loss is the head's own.

        Args:
            maps: ``(B, C, H, W)`` feature maps that the head reads.
            projection: See `ssal3d.models.gradients.outer_product_sums`.
            seed: Seed of the projection.
        """
        rows = []
        for frame in range(len(maps[0])):
            total: Any = 0
            for level in maps:
                shared = self.shared_conv(level[frame : frame + 1])
                total = total + torch.cat([self._heat_map_gradient(task, shared) for task in self.task_heads])
            rows.append(project_gradient(total, projection, seed).flatten())
        return torch.stack(rows)

    def _heat_map_gradient(self, task: Any, shared: Tensor) -> Tensor:
        """Return ``(classes, inputs)``: the gradient of the last convolution of a task's heat map."""
        if hasattr(task, 'cls_head'):  # with deformable convolutions
            layers, shared = task.cls_head, task.feature_adapt_cls(shared)
        else:
            layers = task.heatmap
        last: nn.Conv2d = layers[-1]
        inputs = layers[:-1](shared)
        with torch.enable_grad():
            logits = last(inputs).detach().requires_grad_()
            centres = (logits.detach() > 0).to(logits)
            loss = self.loss_cls(clip_sigmoid(logits.clone()), centres, avg_factor=1.0)
            derivatives = torch.autograd.grad(loss, logits)[0]
        gradient = conv2d_weight(
            inputs, last.weight.shape, derivatives, last.stride, last.padding, last.dilation, last.groups
        )
        return gradient.flatten(1)
