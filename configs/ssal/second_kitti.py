"""S-SSAL on KITTI with SECOND, a single-stage detector on voxels; docs/detectors.md says what works with it.

Run: python tools/train.py configs/ssal/second_kitti.py
"""

_base_ = [
    '../_base_/datasets/kitti.py',
    '../_base_/models/second_kitti.py',
    '../_base_/stages_kitti.py',
    '../_base_/experiment_kitti.py',
    '../active/cal_kitti.py',
    '../_base_/default_runtime.py',
]

schedule = dict(max_lr=0.003)  # peak of the one-cycle schedule, the usual one of these detectors
stages = dict(
    normal=dict(schedule=schedule),
    cpsp=dict(schedule=schedule),
    supervised=dict(schedule=schedule),
    semi=dict(schedule=schedule),
)
