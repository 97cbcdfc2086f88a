"""S-SSAL on KITTI with CenterPoint, a single-stage detector without anchors; docs/detectors.md says what works with it.

Run: python tools/train.py configs/ssal/centerpoint_kitti.py
"""

_base_ = [
    '../_base_/datasets/kitti.py',
    '../_base_/models/centerpoint_kitti.py',
    '../_base_/schedules/onecycle_80e.py',
    '../_base_/stages_kitti.py',
    '../_base_/experiment_kitti.py',
    '../active/cal_kitti.py',
    '../_base_/default_runtime.py',
]

active_sampler = dict(ensemble_nms=0.1)  # one box an object: this detector suppresses class by class
schedule = dict(max_lr=0.003)  # highest learning rate, the usual one of these detectors
