"""Every stage in a few dozen steps on a handful of real frames: the simulated demo's detector, KITTI's stages."""

_base_ = [
    '../../configs/_base_/datasets/kitti.py',
    '../../configs/_base_/models/pvrcnn_sim.py',
    '../../configs/_base_/stages_kitti.py',
    '../../configs/_base_/default_runtime.py',
]

near = [0, -19.2, -3, 38.4, 19.2, 1]  # m
little = [-0.1, 0.1]  # rad
quick = dict(eps=1e-3, momentum=0.1)  # batch norm: the usual 0.01 knows its statistics after hundreds of steps only


def _fit(pipeline):
    """Return a pipeline with the model's range, little rotation and few pasted objects: a few dozen steps suffice."""
    changes = dict(point_cloud_range=near, rot_range=little, groups=dict(Car=4, Pedestrian=2, Cyclist=2))
    return [{key: changes.get(key, value) for key, value in step.items()} for step in pipeline]


labelled_pipeline = _fit(_base_.labelled_pipeline)
pseudo_pipeline = _fit(_base_.pseudo_pipeline)
student_pipeline = _fit(_base_.student_pipeline)
test_pipeline = _fit(_base_.test_pipeline)
model = dict(
    data_preprocessor=dict(voxel_layer=dict(point_cloud_range=near)),
    middle_encoder=dict(sparse_shape=[41, 192, 192], norm_cfg=dict(type='BN1d', **quick)),
    points_encoder=dict(num_keypoints=384, point_cloud_range=near),
    backbone=dict(norm_cfg=dict(type='BN', **quick)),
    neck=dict(norm_cfg=dict(type='BN', **quick)),
    rpn_head=dict(
        anchor_generator=dict(
            ranges=[
                [0, -19.2, -0.6, 38.4, 19.2, -0.6],
                [0, -19.2, -0.6, 38.4, 19.2, -0.6],
                [0, -19.2, -1.78, 38.4, 19.2, -1.78],
            ]
        )
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.01)),
)
train_dataloader = dict(num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
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
        cpsp=dict(k_first=3, k_next=3, tau_low=taken),
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
        schedule=fine_tuning,
        method=dict(second_view=dict(rotation=little), augmentation=dict(rotation=little), unlabelled_weight=0.3),
        mining=dict(interval=1, defaults=dict(s=[taken, taken], r=[taken, taken], view_iou=[taken, taken])),
    ),
)
