"""Registers everything of ssal3d; configs name this module in ``custom_imports``."""

from importlib import import_module

from ssal3d import compat
from ssal3d.plugins import load_plugins

MODULES = (
    'ssal3d.bank.hook',
    'ssal3d.bank.transforms',
    'ssal3d.cpsp.dataset',
    'ssal3d.cpsp.hook',
    'ssal3d.data.determinism',
    'ssal3d.data.folder.dataset',
    'ssal3d.data.kitti_dataset',
    'ssal3d.data.views',
    'ssal3d.data.waymo_dataset',
    'ssal3d.evaluation.kitti_metric',
    'ssal3d.evaluation.lidar_metric',
    'ssal3d.evaluation.waymo_metric',
    'ssal3d.loop.active_learning_loop',
    'ssal3d.models.anchor_head',
    'ssal3d.models.center_head',
    'ssal3d.models.loss_prediction',
    'ssal3d.models.mixed_precision',
    'ssal3d.models.pvrcnn',
    'ssal3d.models.single_stage',
    'ssal3d.semi',
)

compat.apply_all()  # before anything of MMDetection3D is built
for module in MODULES:
    import_module(module)
load_plugins()
