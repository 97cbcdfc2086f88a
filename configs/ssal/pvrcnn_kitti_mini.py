"""The whole of S-SSAL in minutes on two CPU cores: a small PV-RCNN on a few hundred real frames.

Run: make demo DATA=<folder in the KITTI layout>
"""

_base_ = [
    '../_base_/datasets/kitti.py',
    '../_base_/models/pvrcnn_kitti_small.py',
    '../_base_/schedules/onecycle_80e.py',
    '../_base_/stages_kitti.py',
    '../_base_/experiment_kitti.py',
    '../active/cal_kitti.py',
    '../_base_/default_runtime.py',
]

query = dict(budget=60)  # boxes per query
fine_tuning = dict(max_lr=0.003)  # few steps: at 0.01 the first refresh would find nothing confident
stages = dict(  # about 400 steps of two frames, 250, 700 and 350
    normal=dict(epochs=8, repeat=5),
    cpsp=dict(epochs=4, repeat=6, interval=2, schedule=fine_tuning, bank=dict(k_first=5, k_next=5)),
    supervised=dict(epochs=8, repeat=4),
    final_cpsp=dict(epochs=4, repeat=4, interval=2, schedule=fine_tuning, bank=dict(k_first=5, k_next=5)),
    hssda=dict(  # a trial: with 12 frames a step there would be too few steps
        options=dict(train_dataloader=dict(batch_size=2)),
        min_batch=2,
        lr_batch=None,  # the learning rate suits these small steps
    ),
)
del fine_tuning
train_cfg = dict(
    initial=dict(query=dict(budget=60)),  # boxes of the random start
    held_out_report=True,  # measures first and final models and pseudo labels on the frames that stay unlabelled
)
pool_dataloader = dict(num_workers=1, frames_per_part=16)
val_evaluator = dict(
    iou_thresholds=dict(Car=dict(bev=0.5)),  # changes by class
    small_sets=True,  # few frames hold fewer objects than KITTI's sampling of recalls wants
)
test_evaluator = val_evaluator
default_hooks = dict(logger=dict(interval=10))
