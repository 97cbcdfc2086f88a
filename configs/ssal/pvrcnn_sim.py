"""The whole of S-SSAL without any data: simulated streets, a tiny PV-RCNN, minutes on two CPU cores.

Run: make demo
"""

_base_ = [
    '../_base_/datasets/sim.py',
    '../_base_/models/pvrcnn_sim.py',
    '../_base_/stages_kitti.py',
    '../active/cal_kitti.py',
    '../_base_/default_runtime.py',
]

near = [0, -32, -3, 51.2, 32, 1]  # m


def _crop(pipeline):
    """Return a pipeline with the model's range in every step that has one."""
    return [dict(step, point_cloud_range=near) if 'point_cloud_range' in step else step for step in pipeline]


labelled_pipeline = _crop(_base_.labelled_pipeline)
pseudo_pipeline = _crop(_base_.pseudo_pipeline)
student_pipeline = _crop(_base_.student_pipeline)
test_pipeline = _crop(_base_.test_pipeline)
train_dataloader = dict(
    batch_size=1,  # per process; the demo starts two
    num_workers=1,
    dataset=dict(dataset=dict(pipeline=test_pipeline)),
)
val_dataloader = dict(batch_size=4, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

fine_tuning = dict(max_lr=0.003)  # few steps: at 0.01 the first refresh would find nothing confident
stages = dict(
    normal=dict(epochs=4, repeat=3),
    cpsp=dict(epochs=2, repeat=2, interval=1, schedule=fine_tuning, cpsp=dict(k_first=10, k_next=5)),
    supervised=dict(epochs=4, repeat=2),
    semi=dict(epochs=2, repeat=2, interval=2, schedule=fine_tuning, cpsp=dict(k_first=10, k_next=5)),
)
train_cfg = dict(
    type='ActiveLearningLoop',
    initial=dict(sampler=dict(type='RandomSampler'), query=dict(budget=200)),
    rounds=[dict(pretrain=['normal', 'cpsp'])],
    final=['supervised', 'semi'],
    annotator=dict(type='SimulatedAnnotator'),
    prediction=dict(batch_size=4, num_workers=1, frames_per_part=32),
)
val_evaluator = dict(iou_thresholds=dict(Car=dict(bev=0.5)))
test_evaluator = val_evaluator
default_hooks = dict(logger=dict(interval=10))
