"""Every shipped detector can learn every class: anchors, or cells, reach its objects, voxels keep their points."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import ssal3d.register  # noqa: F401
from ssal3d.checks.points import kept_shares
from ssal3d.configs import read_config
from ssal3d.simulation.frame import simulate_frame
from ssal3d.simulation.sizes import draw_size

ROOT = Path(__file__).parents[1]
DETECTORS = {  # an experiment with each shipped detector
    'centerpoint_kitti': 'centerpoint_kitti',
    'pillars_sim': 'pillars_sim',
    'pillars_sim_360': 'pillars_sim_360',
    'pointpillars_kitti': 'pointpillars_kitti',
    'pvrcnn_kitti': 'pvrcnn_kitti',
    'pvrcnn_kitti_small': 'pvrcnn_kitti_mini',
    'pvrcnn_sim': 'pvrcnn_sim',
    'pvrcnn_sim_360': 'pvrcnn_sim_360',
    'pvrcnn_waymo': 'pvrcnn_waymo',
    'second_kitti': 'second_kitti',
}
CLASSES = ['Pedestrian', 'Cyclist', 'Car']
OBJECTS = 150  # CenterPoint learns at most 200 of a frame


def objects(name: str, limits: list[float]) -> torch.Tensor:
    """Return objects with KITTI's sizes of a class anywhere in range, as ``(150, 7)`` bottom-centred boxes."""
    rng = np.random.default_rng(0)
    sizes = np.array([draw_size(name, rng) for _ in range(OBJECTS)])
    low, high = np.array(limits[:2]) + 3, np.array(limits[3:5]) - 3
    places = np.column_stack((rng.uniform(low, high, (OBJECTS, 2)), np.full(OBJECTS, -1.6)))
    return torch.tensor(np.column_stack((places, sizes, rng.uniform(-np.pi, np.pi, OBJECTS))), dtype=torch.float32)


def map_size(model: Any) -> tuple[int, int]:
    """Return height and width of the feature map that the head reads."""
    prefix = 'pts_' if 'pts_neck' in model else ''
    encoder = model[f'{prefix}middle_encoder']
    if encoder.type == 'PointPillarsScatter':
        canvas = encoder.output_shape
    else:
        canvas = [-(-size // 8) for size in encoder.sparse_shape[1:]]
    with torch.device('meta'):
        layers = [MODELS.build(model[f'{prefix}{part}']).eval() for part in ('backbone', 'neck')]
        channels = model[f'{prefix}backbone'].in_channels
        return tuple(layers[1](layers[0](torch.zeros(1, channels, *canvas)))[0].shape[-2:])


def test_no_detector_is_left_out():
    assert set(DETECTORS) == {path.stem for path in (ROOT / 'configs/_base_/models').glob('*.py')}


@pytest.mark.parametrize('detector', DETECTORS)
@pytest.mark.parametrize('name', CLASSES)
def test_at_least_95_percent_of_the_objects_of_each_class_are_learnt(detector, name):
    init_default_scope('mmdet3d')
    config = read_config(ROOT / f'configs/ssal/{DETECTORS[detector]}.py', custom_imports=False)
    model, label = config.model, config.class_names.index(name)
    boxes = objects(name, config.point_cloud_range)
    size = map_size(model)
    truth = InstanceData(bboxes_3d=boxes, labels_3d=torch.full((OBJECTS,), label))
    if 'pts_bbox_head' in model:
        head = MODELS.build(dict(model.pts_bbox_head, train_cfg=model.train_cfg.pts, test_cfg=model.test_cfg.pts))
        truth.bboxes_3d = LiDARInstance3DBoxes(boxes)
        heat_maps, *_ = head.get_targets_single(truth)
        assert heat_maps[label].shape[-2:] == size
        assert (heat_maps[label] == 1).sum() >= 0.95 * OBJECTS  # two objects may share a cell
        return
    if 'rpn_head' in model:
        head = MODELS.build(dict(model.rpn_head, train_cfg=model.train_cfg.rpn, test_cfg=model.test_cfg.rpn))
    else:
        head = MODELS.build(dict(model.bbox_head, train_cfg=model.train_cfg, test_cfg=model.test_cfg))
    anchors = head.prior_generator.grid_anchors([size], device='cpu')[0]
    assert anchors.shape[-3] == len(head.bbox_assigner) == 3
    assigned = head.bbox_assigner[label].assign(InstanceData(priors=anchors[..., label, :, :].reshape(-1, 7)), truth)
    learnt = assigned.gt_inds[assigned.gt_inds > 0].unique()
    assert len(learnt) >= 0.95 * OBJECTS


@cache
def seen(preset: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return points, boxes and class names of simulated frames."""
    found = []
    for number in range(0, 400, 20):
        frame = simulate_frame(3, number, preset)
        transforms = np.array(frame.snapshot.transforms).reshape(-1, 4, 4)
        size = np.linalg.norm(transforms[:, :3, :3], axis=1)
        centres = transforms[:, :3, 3] + transforms[:, :3, 2] / 2
        yaws = np.arctan2(transforms[:, 1, 0], transforms[:, 0, 0])
        names = np.array([thing.name for thing in frame.snapshot.objects], dtype=np.str_)
        found.append((frame.scan.points[:, :3], np.column_stack((centres, size, yaws)), names))
    return found


@pytest.mark.parametrize('detector', DETECTORS)
def test_an_average_object_of_each_class_keeps_three_quarters_of_its_points(detector):
    config = read_config(ROOT / f'configs/ssal/{DETECTORS[detector]}.py', custom_imports=False)
    layer = config.model.data_preprocessor.voxel_layer
    frames = seen('waymo' if 'sim_360' in detector or 'waymo' in detector else 'kitti')
    for name in CLASSES:
        shares = [
            kept_shares(points, boxes[names == name], layer.point_cloud_range, layer.voxel_size, layer.max_num_points)
            for points, boxes, names in frames
        ]
        known = np.concatenate(shares)[np.isfinite(np.concatenate(shares))]
        assert len(known) >= 3
        assert known.mean() >= 0.75, name
