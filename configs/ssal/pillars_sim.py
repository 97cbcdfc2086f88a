"""The whole of S-SSAL on simulated streets with a single-stage pillar detector that learns all three classes on CPUs.

Run: python tools/train.py configs/ssal/pillars_sim.py
"""

_base_ = [
    '../_base_/datasets/sim.py',
    '../_base_/models/pillars_sim.py',
    '../_base_/schedules/onecycle_80e.py',
    '../_base_/stages_kitti.py',
    '../_base_/experiment_kitti.py',
    '../active/cal_kitti.py',
    '../_base_/default_runtime.py',
]

# 98 % of the cars, 100 % of the pedestrians and 98 % of the cyclists that KITTI's moderate level counts are in it.
point_cloud_range = [0, -25.6, -3, 44.8, 25.6, 1]  # m


def _without_facts(pipeline):
    """Return a pipeline whose samples carry no facts that training does not read: copying them costs 10 ms a step."""
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

active_sampler = dict(
    # Scores are probabilities of a class here, where PV-RCNN estimates a box's IoU: right boxes score lower.
    s_rep=0.4,
    s_add=0.6,
    ensemble_nms=0.1,  # one box an object: this detector suppresses class by class, PV-RCNN does not
)
# What a young detector doubts is no sure background: many true pedestrians and cyclists score below 0.2. So little is
# cut out as doubtful (`tau_low`), and what is pasted as false positives comes from labelled frames, where annotations
# tell. Those matter: pseudo-scenes hold no pole that the model may take for a person, as such doubts are cut out, and a
# model that sees none any more takes them all for persons. Classes whose most confident boxes are wrong on labelled
# frames one time in ten are pasted from labels alone. With few predictions per class, fewer clusters of scores.
young = dict(k_first=10, k_next=5, tau_low=0.15, min_precision=0.9, fp_source='labelled')
pseudo = dict(
    epochs=6,
    repeat=10,
    interval=2,
    false_positives=dict(Car=3, Pedestrian=5, Cyclist=5),
    annotated_share=0.5,  # of the pasted objects; else most boxes to learn are the model's own, and cars lose in 3D
    bank=young,
)
stages = dict(
    normal=dict(epochs=8, repeat=10),
    cpsp=dict(**pseudo),
    supervised=dict(epochs=8, repeat=10),
    final_cpsp=dict(**pseudo),
    hssda=dict(  # a trial: with 12 frames a step there would be too few steps
        options=dict(train_dataloader=dict(batch_size=2)),
        min_batch=2,
        lr_batch=None,  # the learning rate suits these small steps
    ),
)
del young, pseudo
val_evaluator = dict(iou_thresholds=dict(Car=dict(bev=0.5)))  # changes by class
test_evaluator = val_evaluator
default_hooks = dict(logger=dict(interval=10))
