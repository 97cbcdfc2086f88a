"""The whole of S-SSAL on simulated drives with labels all around, Waymo's classes and metric, for CPUs.

Run: python tools/train.py configs/ssal/pillars_sim_360.py
"""

_base_ = [
    '../_base_/datasets/sim_360.py',
    '../_base_/models/pillars_sim_360.py',
    '../_base_/schedules/onecycle_waymo.py',
    '../_base_/stages_waymo.py',
    '../_base_/experiment_waymo.py',
    '../active/cal_waymo.py',
    '../_base_/default_runtime.py',
]

point_cloud_range = [-51.2, -51.2, -2, 51.2, 51.2, 4]  # m


def _without_facts(pipeline):
    """Return a pipeline whose samples carry no facts that training does not read: copying them takes time."""
    return [dict(step, meta_keys=['box_type_3d']) if step['type'] == 'Pack3DDetInputs' else step for step in pipeline]


labelled_pipeline = _without_facts(_base_.labelled_pipeline)
pseudo_pipeline = _without_facts(_base_.pseudo_pipeline)
train_dataloader = dict(
    batch_size=2,  # over all processes; many small steps learn faster than few large ones
    num_workers=1,
)
pool_dataloader = dict(batch_size=4, num_workers=1, frames_per_part=32)
val_dataloader = dict(batch_size=4)
test_dataloader = val_dataloader

query = dict(budget=400)  # boxes per query, some 20 frames
active_sampler = dict(
    # Scores are probabilities of a class here, where PV-RCNN estimates a box's IoU: right boxes score lower.
    s_rep=0.4,
    s_add=0.6,
    ensemble_nms=0.1,  # one box an object: this detector suppresses class by class, PV-RCNN does not
)
train_cfg = dict(initial=dict(query=dict(budget=400)))  # boxes of the random start
# A young detector gives many true pedestrians and cyclists low scores: fewer of its doubts are pasted as false
# positives, and only low ones. With few predictions per class, fewer clusters of scores.
# Classes whose most confident boxes are wrong on one labelled frame in ten are pasted from labels alone.
young = dict(k_first=10, k_next=5, tau_low=0.15, min_precision=0.9)
few = dict(train_dataloader=dict(batch_size=2))
stages = dict(
    normal=dict(epochs=8, repeat=10, options=few),
    cpsp=dict(epochs=6, repeat=10, interval=2, false_positives=dict(Car=1, Pedestrian=1, Cyclist=1), bank=young),
    supervised=dict(epochs=8, repeat=10, options=few),
    final_cpsp=dict(epochs=6, repeat=10, interval=2, bank=young),
    hssda=dict(  # a trial: with 12 frames a step there would be too few steps
        options=few,
        min_batch=2,
        lr_batch=None,  # the learning rate suits these small steps
    ),
)
del young, few
default_hooks = dict(logger=dict(interval=10))
