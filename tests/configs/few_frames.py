"""Every stage in a few dozen steps on a handful of real frames: the simulated demo's detector, KITTI's stages."""

_base_ = [
    '../../configs/_base_/datasets/kitti.py',
    '../../configs/_base_/models/pvrcnn_sim.py',
    '../../configs/_base_/schedules/onecycle_80e.py',
    '../../configs/_base_/stages_kitti.py',
    '../../configs/_base_/default_runtime.py',
]

point_cloud_range = [0, -19.2, -3, 38.4, 19.2, 1]  # m
paste_groups = dict(Car=4, Pedestrian=2, Cyclist=2)  # few: a few dozen steps suffice
little = [-0.1, 0.1]  # rad
quick = dict(eps=1e-3, momentum=0.1)  # batch norm: the usual 0.01 knows its statistics after hundreds of steps only


def _turn_little(pipeline):
    """Return a pipeline with little rotation."""
    return [dict(step, rot_range=little) if 'rot_range' in step else step for step in pipeline]


labelled_pipeline = _turn_little(_base_.labelled_pipeline)
pseudo_pipeline = _turn_little(_base_.pseudo_pipeline)
student_pipeline = _turn_little(_base_.student_pipeline)
model = dict(
    middle_encoder=dict(norm_cfg=dict(type='BN1d', **quick)),
    points_encoder=dict(num_keypoints=384),
    backbone=dict(norm_cfg=dict(type='BN', **quick)),
    neck=dict(norm_cfg=dict(type='BN', **quick)),
    test_cfg=dict(rcnn=dict(score_thr=0.01)),
)
train_dataloader = dict(num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
default_hooks = dict(logger=dict(interval=1))

# Four labelled frames in batches of two, five unlabelled ones. Thresholds fit a detector that has seen four frames.
fine_tuning = dict(max_lr=0.003)
taken = 0.05  # score from which a box is a pseudo label
stages = dict(
    normal=dict(epochs=4, repeat=8),  # 64 steps
    cpsp=dict(
        epochs=2,
        repeat=10,  # 40 steps, half of them of pseudo-scenes
        interval=1,
        pseudo_ratio=0.5,
        schedule=fine_tuning,
        bank=dict(k_first=3, k_next=3, tau_low=taken),
    ),
    threedioumatch=dict(
        epochs=2,
        repeat=4,
        schedule=fine_tuning,
        method=dict(t_iou=dict(Car=taken, Pedestrian=taken, Cyclist=taken), t_sem=taken),
    ),
    joint3d=dict(
        epochs=2,
        repeat=4,
        schedule=fine_tuning,
        method=dict(t_score=dict(Car=taken, Pedestrian=taken, Cyclist=taken)),
    ),
    nal=dict(epochs=2, repeat=3, schedule=fine_tuning, tau=taken, method=dict(threshold=0.1, unlabelled_weight=0.3)),
    hssda=dict(
        epochs=2,
        repeat=2,  # 18 steps of all nine frames
        options=dict(train_dataloader=dict(batch_size=2)),
        min_batch=2,
        lr_batch=None,
        schedule=fine_tuning,
        method=dict(second_view=dict(rotation=little), augmentation=dict(rotation=little), unlabelled_weight=0.3),
        mining=dict(interval=1, defaults=dict(s=[taken, taken], r=[taken, taken], view_iou=[taken, taken])),
    ),
)
