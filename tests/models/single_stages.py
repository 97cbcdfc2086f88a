"""Single-stage detectors of a few thousand parameters, made of the shipped configs, and batches for them."""

import copy
from pathlib import Path

import numpy as np
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config

EXPERIMENTS = Path(__file__).parents[2] / 'configs/ssal'
LIMITS = [0, -6.4, -3, 12.8, 6.4, 1]
STOCK = {
    'ActiveVoxelNet': 'VoxelNet',
    'ActiveAnchor3DHead': 'Anchor3DHead',
    'ActiveCenterPoint': 'CenterPoint',
    'ActiveCenterHead': 'CenterHead',
}
OWN_OPTIONS = ('feature_grid', 'dense_cpu_dtype')


def _pillars() -> dict:
    return _of('pillars_sim', **_bottoms())


def _second() -> dict:
    config = _of('second_kitti', voxel_size=[0.1, 0.1, 0.1], **_bottoms())
    config['middle_encoder'] |= _thin_encoder()
    config['backbone'] |= dict(in_channels=32, layer_nums=[1, 1], out_channels=[16, 16])
    config['neck'] |= dict(in_channels=[16, 16], out_channels=[16, 16])
    config['bbox_head'] |= dict(in_channels=32, feat_channels=32)
    return config


def _centerpoint() -> dict:
    config = _of('centerpoint_kitti', voxel_size=[0.1, 0.1, 0.1])
    config['pts_middle_encoder'] |= _thin_encoder()
    config['pts_backbone'] |= dict(in_channels=32, layer_nums=[1, 1], out_channels=[16, 16])
    config['pts_neck'] |= dict(in_channels=[16, 16], out_channels=[16, 16])
    config['pts_bbox_head'] |= dict(in_channels=32, share_conv_channel=8)
    config['pts_bbox_head']['tasks'] = [
        dict(num_class=2, class_names=['Pedestrian', 'Cyclist']),
        dict(num_class=1, class_names=['Car']),
    ]
    config['pts_bbox_head']['bbox_coder'] |= dict(max_num=60, score_threshold=0.0)
    config['test_cfg']['pts'] |= dict(score_threshold=0.0, post_max_size=20)
    return config


def _bottoms() -> dict:
    return {f'anchors.{name}.bottom': -1.6 for name in ('Pedestrian', 'Cyclist', 'Car')}


def _of(name: str, **settings: object) -> dict:
    settings = {'point_cloud_range': LIMITS, **settings}
    config = read_config(EXPERIMENTS / f'{name}.py', settings, custom_imports=False).model.to_dict()
    config['dense_cpu_dtype'] = 'float32'
    return config


def _thin_encoder() -> dict:
    return dict(
        base_channels=4,
        output_channels=16,
        encoder_channels=((4,), (8, 8), (8, 8), (8, 8)),
        encoder_paddings=((0,), ((1, 1, 1), 0), ((1, 1, 1), 0), ((0, 1, 1), 0)),
    )


BUILDERS = {'pillars': _pillars, 'second': _second, 'centerpoint': _centerpoint}


def detector(name, stock=False, seed=0, **changes):
    """Return an initialised detector in eval mode; the stock one has the same weights."""
    init_default_scope('mmdet3d')
    config = BUILDERS[name]() | changes
    model = _built(config, seed)
    if not stock:
        return model
    own = _built(_as_stock(config), seed)
    own.load_state_dict(model.state_dict(), strict=True)
    return own


def _built(config, seed):
    torch.manual_seed(seed)
    model = MODELS.build(Config(dict(model=copy.deepcopy(config))).model)
    model.init_weights()
    for module in model.modules():  # bold scores, else an untrained detector says nothing
        if isinstance(module, torch.nn.Conv2d) and module.out_channels in (2, 1, 18):
            torch.nn.init.normal_(module.weight, std=0.5)
            torch.nn.init.zeros_(module.bias)
    return model.eval()


def _as_stock(config):
    if isinstance(config, dict):
        own = {k: v for k, v in config.items() if k not in OWN_OPTIONS}
        return {k: STOCK.get(v, v) if k == 'type' else _as_stock(v) for k, v in own.items()}
    return [_as_stock(value) for value in config] if isinstance(config, list) else config


def batch(frames=2, points=700, boxes=None):
    """Return a collated batch; with ``boxes``, (rows, labels) of each frame, it can be trained on."""
    rng = np.random.default_rng(1)
    clouds = [
        torch.tensor(rng.uniform((0, -6, -2, 0), (12.8, 6, 0, 1), (points, 4)), dtype=torch.float32)
        for _ in range(frames)
    ]
    samples = []
    for frame in range(frames):
        sample = Det3DDataSample(metainfo={'box_type_3d': LiDARInstance3DBoxes})
        if boxes is not None:
            rows, labels = boxes[frame]
            sample.gt_instances_3d = InstanceData(
                bboxes_3d=LiDARInstance3DBoxes(torch.tensor(rows, dtype=torch.float32).reshape(-1, 7)),
                labels_3d=torch.tensor(labels, dtype=torch.long),
            )
        samples.append(sample)
    return {'inputs': {'points': clouds}, 'data_samples': samples}


def street(seed, count):
    """Return ``count`` random boxes in range, bottom-centred, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    sizes = np.array([[0.8, 0.6, 1.73], [1.76, 0.6, 1.73], [3.9, 1.6, 1.56]])[labels] * rng.uniform(
        0.9, 1.1, (count, 3)
    )
    places = rng.uniform((1, -5, -1.8), (12, 5, -1.4), (count, 3))
    return np.concatenate((places, sizes, rng.uniform(-4, 4, (count, 1))), 1), labels
