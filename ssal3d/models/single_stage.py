"""Single-stage detectors that fill the prediction contract: SECOND and PointPillars (VoxelNet), CenterPoint.

The classes add no parameter, so checkpoints of the stock classes load unchanged and the other way round. Extras per
final box stand in ``pred_instances_3d`` under the column names of the contract; extras per frame in
``frame_predictions``.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet3d.models.detectors import CenterPoint, VoxelNet
from mmdet3d.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from ssal3d.errors import UserError
from ssal3d.models.bev_features import bev_box_features
from ssal3d.models.dense_cpu import cpu_dense_dtype, run_dense
from ssal3d.models.extraction import Extraction
from ssal3d.models.pillar_canvas import is_plain_pillar_net, pillar_canvas
from ssal3d.models.protocol import ANCHOR_MAPS, FRAME_LOSSES, FrameOutput


class SingleStageExtras:
    """What single-stage detectors add to their stock class; to be named before it among the bases.

    Args:
        feature_grid: Points along each side of a box at which its ``box_features`` are read; 1 for its centre.
        dense_cpu_dtype: Type of backbone and neck on the CPU, see `ssal3d.models.dense_cpu.cpu_dense_dtype`.
        *args: As for the stock detector.
        **kwargs: As for the stock detector.

    Attributes:
        provides: Columns of the contract that the detector computes.
        gradient_layers: Layers of the column ``gradient``.
        extraction: What to compute beside the final boxes; set it with `ssal3d.models.extraction.extracting`.
    """

    provides = frozenset(('class_logits', 'box_features', 'gradient'))
    gradient_layers = ('rpn_conv_cls',)
    marks_dense_part = True

    def __init__(self, *args: Any, feature_grid: int = 1, dense_cpu_dtype: str = 'auto', **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.feature_grid = feature_grid
        self.dense_dtype = cpu_dense_dtype(dense_cpu_dtype)
        self.extraction = Extraction()

    @property
    def head(self) -> Any:
        """The detection head."""
        raise NotImplementedError

    def prediction_metadata(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what readers of the predictions must know about this detector.

        Args:
            classes: Class names in the order of its labels.
        """
        settings = self.head.test_cfg
        return {
            'detector': type(self).__name__,
            'score_threshold': settings.get('score_thr', settings.get('score_threshold')),
            'nms_iou': settings.get('nms_thr'),
            'dense_cpu_dtype': str(self.dense_dtype).removeprefix('torch.'),
            **self.extraction.metadata,
        }

    def predict(self, batch_inputs_dict: dict, batch_data_samples: list, **kwargs: Any) -> list:
        """Predict final boxes with their extras.

        Args:
            batch_inputs_dict: Points and voxels.
            batch_data_samples: One per frame.
            **kwargs: As in the stock detector.
        """
        maps = self._feature_maps(batch_inputs_dict, [sample.metainfo for sample in batch_data_samples])
        results = self.head.predict(maps, batch_data_samples, **kwargs)
        values = self._extras(maps, results)
        samples = self.add_pred_to_datasample(batch_data_samples, results)  # type: ignore[attr-defined]
        for sample, columns in zip(samples, values):
            sample.frame_predictions = columns
        return samples

    def _feature_maps(self, inputs: dict, metas: list[dict]) -> list[Tensor]:
        """Return the BEV feature maps that the head reads."""
        raise NotImplementedError

    def _extras(self, maps: Sequence[Tensor], results: Sequence[InstanceData]) -> list[dict[str, Any]]:
        """Add features to the final boxes where they are wanted and return what concerns whole frames."""
        extraction = self.extraction
        if 'box_features' in extraction.columns:
            limits = self.data_preprocessor.voxel_layer.point_cloud_range  # type: ignore[attr-defined]
            for frame, result in enumerate(results):
                boxes = result.bboxes_3d.tensor
                levels = [bev_box_features(level[frame], boxes, limits, self.feature_grid) for level in maps]
                result.box_features = torch.cat(levels, dim=1)
        if not extraction.wants_gradient:
            return [{} for _ in results]
        rows = self.head.score_gradients(maps, extraction.projection, extraction.projection_seed)
        return [{'gradient': row} for row in rows]

    def _dense(self, layers: Callable[[Tensor], Any], inputs: Tensor) -> list[Tensor]:
        return run_dense(layers, inputs, self.dense_dtype)


@MODELS.register_module()
class ActiveVoxelNet(SingleStageExtras, VoxelNet):
    """SECOND or PointPillars with `ActiveAnchor3DHead` that fills the prediction contract.

    Attributes:
        teaches: What teacher-student methods can learn from it, see `ssal3d.models.protocol.FrameTeacher`.
        pseudo_label_losses: All losses: there is no score of how good a box is.
    """

    teaches = frozenset((FRAME_LOSSES, ANCHOR_MAPS))
    pseudo_label_losses = ('loss_cls', 'loss_bbox', 'loss_dir')

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plain_pillars = is_plain_pillar_net(self.voxel_encoder, self.middle_encoder)

    @property
    def head(self) -> Any:
        """The anchor head."""
        return self.bbox_head

    def extract_feat(self, batch_inputs_dict: dict) -> list[Tensor]:
        """Return the BEV feature maps of a batch.

        Args:
            batch_inputs_dict: Points and voxels.
        """
        voxels, frames = batch_inputs_dict['voxels'], len(batch_inputs_dict['points'])
        if self._plain_pillars and voxels['voxels'].device.type == 'cpu':
            canvas = pillar_canvas(self.voxel_encoder, self.middle_encoder, voxels, frames, self.dense_dtype)
        else:
            features = self.voxel_encoder(voxels['voxels'], voxels['num_points'], voxels['coors'])
            canvas = self.middle_encoder(features, voxels['coors'], frames)
        return self._dense(lambda x: self.neck(self.backbone(x)) if self.with_neck else self.backbone(x), canvas)

    @property
    def anchor_generator(self) -> Any:
        """What makes the anchors."""
        return self.bbox_head.prior_generator

    def frame_outputs(self, inputs: dict[str, Any], samples: Sequence[Any]) -> list[FrameOutput]:
        """Run in training mode on a batch and return every frame's own losses and anchor maps.

        Args:
            inputs: Points and voxels of B frames.
            samples: B data samples, see `ssal3d.models.protocol.FrameTeacher.frame_outputs`.
        """
        maps, outputs = self.bbox_head(self.extract_feat(inputs)), []
        for frame, sample in enumerate(samples):
            frame_maps = [[level[frame : frame + 1] for level in kind] for kind in maps]
            output = FrameOutput(rpn_scores=frame_maps[0][0][0], rpn_residuals=frame_maps[1][0][0])
            if 'gt_instances_3d' in sample:
                truth = copy.deepcopy(sample.gt_instances_3d)
                losses = self.bbox_head.loss_by_feat(*frame_maps, [truth], [sample.metainfo], [None])
                output.losses = {name: sum(parts) for name, parts in losses.items()}
            outputs.append(output)
        return outputs

    def _feature_maps(self, inputs: dict, metas: list[dict]) -> list[Tensor]:
        return self.extract_feat(inputs)


@MODELS.register_module()
class ActiveCenterPoint(SingleStageExtras, CenterPoint):
    """CenterPoint on points alone with `ActiveCenterHead` that fills the prediction contract."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.with_img_backbone:
            raise UserError(
                'ActiveCenterPoint: found img_backbone, but it reads points alone; use the stock CenterPoint'
            )

    @property
    def head(self) -> Any:
        """The heat-map head."""
        return self.pts_bbox_head

    def extract_pts_feat(self, voxel_dict: dict, points: Any = None, *args: Any, **kwargs: Any) -> list[Tensor]:
        """Return the BEV feature maps of a batch.

        Args:
            voxel_dict: Voxels.
            points: Point cloud of each frame.
            *args: Unused, as there are no images.
            **kwargs: Unused, as there are no images.
        """
        features = self.pts_voxel_encoder(voxel_dict['voxels'], voxel_dict['num_points'], voxel_dict['coors'])
        canvas = self.pts_middle_encoder(features, voxel_dict['coors'], len(points))
        return self._dense(
            lambda x: self.pts_neck(self.pts_backbone(x)) if self.with_pts_neck else self.pts_backbone(x), canvas
        )

    def _feature_maps(self, inputs: dict, metas: list[dict]) -> list[Tensor]:
        return self.extract_feat(inputs, metas)[1]
