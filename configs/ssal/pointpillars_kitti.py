"""S-SSAL on KITTI with PointPillars, a single-stage detector on pillars; docs/detectors.md says what works with it.

Run: python tools/train.py configs/ssal/pointpillars_kitti.py
"""

_base_ = [
    '../_base_/datasets/kitti.py',
    '../_base_/models/pointpillars_kitti.py',
    '../_base_/stages_kitti.py',
    '../_base_/experiment_kitti.py',
    '../active/cal_kitti.py',
    '../_base_/default_runtime.py',
]

near = [0, -39.68, -3, 69.12, 39.68, 1]  # m, whole cells of the feature map


def _crop(pipeline):
    """Return a pipeline with the model's range in every step that has one."""
    return [dict(step, point_cloud_range=near) if 'point_cloud_range' in step else step for step in pipeline]


labelled_pipeline = _crop(_base_.labelled_pipeline)
pseudo_pipeline = _crop(_base_.pseudo_pipeline)
student_pipeline = _crop(_base_.student_pipeline)
test_pipeline = _crop(_base_.test_pipeline)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=test_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

schedule = dict(max_lr=0.003)  # peak of the one-cycle schedule, the usual one of these detectors
stages = dict(
    normal=dict(schedule=schedule),
    cpsp=dict(schedule=schedule),
    supervised=dict(schedule=schedule),
    semi=dict(schedule=schedule),
)
