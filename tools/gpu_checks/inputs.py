"""Clouds, configs and models that the stages share."""

import copy
from typing import Any

import torch
from benchmarks.train_step import ROOT, scan
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

import ssal3d.register  # noqa: F401
from gpu_checks.record import Record
from gpu_checks.stock import to_stock
from ssal3d.configs import read_config


def two_clouds() -> list[Tensor]:
    """Return two frames of different size: a scan, and half of its mirror image in another order of points."""
    points = scan()
    mirrored = points * torch.tensor([1.0, -1.0, 1.0, 1.0])
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(1))[: len(points) // 2]
    return [points, mirrored[order].contiguous()]


def config_name(record: Record) -> str:
    """Return the experiment whose detector is checked."""
    return 'pvrcnn_kitti_mini' if record.small else 'pvrcnn_kitti'


def model_config(record: Record, stock: bool = False) -> Any:
    """Return the config of the full or the small PV-RCNN, ours or with MMDetection3D's own classes."""
    init_default_scope('mmdet3d')
    model = read_config(ROOT / 'configs' / 'ssal' / f'{config_name(record)}.py').model
    return to_stock(model) if stock else model


def build(config: Any, device: torch.device, training: bool = False) -> Any:
    """Build a model with weights that are random but always the same."""
    torch.manual_seed(0)
    model = MODELS.build(Config({'model': copy.deepcopy(config)}).model)
    model.init_weights()
    return model.to(device).train(training)
