"""The whole of S-SSAL without any data: simulated streets, a tiny PV-RCNN, minutes on two CPU cores.

Run: make demo
"""

_base_ = [
    '../_base_/datasets/sim.py',
    '../_base_/models/pvrcnn_sim.py',
    '../_base_/schedules/onecycle_80e.py',
    '../_base_/stages_kitti.py',
    '../_base_/experiment_kitti.py',
    '../active/cal_kitti.py',
    '../_base_/default_runtime.py',
]

point_cloud_range = [0, -32, -3, 51.2, 32, 1]  # m; beyond it KITTI's moderate level counts nothing anyway
train_dataloader = dict(batch_size=2, num_workers=1)  # over all processes; the demo starts two without a GPU
pool_dataloader = dict(batch_size=4, num_workers=1, frames_per_part=32)
val_dataloader = dict(batch_size=4)
test_dataloader = val_dataloader

fine_tuning = dict(max_lr=0.003)  # few steps: at 0.01 the first refresh would find nothing confident
stages = dict(
    normal=dict(epochs=4, repeat=3),
    cpsp=dict(epochs=2, repeat=2, interval=1, schedule=fine_tuning, bank=dict(k_first=10, k_next=5)),
    supervised=dict(epochs=4, repeat=2),
    final_cpsp=dict(epochs=2, repeat=2, interval=2, schedule=fine_tuning, bank=dict(k_first=10, k_next=5)),
    hssda=dict(  # a trial: with 12 frames a step there would be too few steps
        options=dict(train_dataloader=dict(batch_size=2)),
        min_batch=2,
        lr_batch=None,  # the learning rate suits these small steps
    ),
)
del fine_tuning
val_evaluator = dict(iou_thresholds=dict(Car=dict(bev=0.5)))  # changes by class
test_evaluator = val_evaluator
default_hooks = dict(logger=dict(interval=10))
