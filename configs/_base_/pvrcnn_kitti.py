"""PV-RCNN on KITTI, everything but the sampler; an experiment adds one of configs/active."""

_base_ = [
    './datasets/kitti.py',
    './models/pvrcnn_kitti.py',
    './schedules/onecycle_80e.py',
    './stages_kitti.py',
    './experiment_kitti.py',
    './default_runtime.py',
]
