"""`pillars_sim_360` with a small PV-RCNN, for methods with a second stage: 3DIoUMatch, Joint3D, HSSDA, CRB, KECOR.

Run: python tools/train.py configs/ssal/pvrcnn_sim_360.py
"""

_base_ = [
    '../_base_/datasets/sim_360.py',
    '../_base_/models/pvrcnn_sim_360.py',
    '../_base_/schedules/onecycle_waymo.py',
    '../_base_/stages_waymo.py',
    '../_base_/experiment_waymo.py',
    '../active/cal_waymo.py',
    '../_base_/default_runtime.py',
]

point_cloud_range = [-51.2, -51.2, -2, 51.2, 51.2, 4]  # m
train_dataloader = dict(batch_size=2, num_workers=1)  # over all processes
pool_dataloader = dict(batch_size=4, num_workers=1, frames_per_part=32)
val_dataloader = dict(batch_size=4)
test_dataloader = val_dataloader

query = dict(budget=400)  # boxes per query, some 20 frames
train_cfg = dict(initial=dict(query=dict(budget=400)))  # boxes of the random start
young = dict(k_first=10, k_next=5, tau_low=0.15)  # few predictions per class: fewer clusters of scores
few = dict(train_dataloader=dict(batch_size=2))
stages = dict(
    normal=dict(epochs=5, repeat=10, options=few),
    cpsp=dict(epochs=4, repeat=10, interval=2, false_positives=dict(Car=1, Pedestrian=1, Cyclist=1), bank=young),
    supervised=dict(epochs=5, repeat=10, options=few),
    final_cpsp=dict(epochs=4, repeat=10, interval=2, bank=young),
    hssda=dict(  # a trial: with 12 frames a step there would be too few steps
        options=few,
        min_batch=2,
        lr_batch=None,  # the learning rate suits these small steps
    ),
)
del young, few
default_hooks = dict(logger=dict(interval=10))
