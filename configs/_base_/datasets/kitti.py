"""KITTI object detection: the train split is the pool, the val split measures.

`tools/create_data.py kitti` writes the infos and the point clouds cropped to the camera view.
"""

data_root = '{{$SSAL3D_KITTI:data/kitti/}}'  # or set the environment variable SSAL3D_KITTI
class_names = ['Pedestrian', 'Cyclist', 'Car']  # the order of MMDetection3D's released KITTI models
point_cloud_range = [0, -40, -3, 70.4, 40, 1]  # m: x, y, z minimum, then maximum
metainfo = dict(classes=class_names)
modality = dict(use_lidar=True, use_camera=False)

# All frames that may be labelled; the loop alone decides whose labels are visible.
pool_dataset = dict(
    type='KittiFrameDataset',
    data_root=data_root,
    ann_file='kitti_infos_train.pkl',
    data_prefix=dict(pts='training/velodyne_reduced'),
    modality=modality,
    metainfo=metainfo,
    box_type_3d='LiDAR',
)

load_points = dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=4, use_dim=4)
augmentation = [
    dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5),  # y -> -y
    dict(type='GlobalRotScaleTrans', rot_range=[-0.78539816, 0.78539816], scale_ratio_range=[0.95, 1.05]),  # rad
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='PointShuffle'),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
]
paste_groups = dict(Car=15, Pedestrian=10, Cyclist=10)  # objects pasted per frame, by class

labelled_pipeline = [
    load_points,
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(
        type='PasteObjects',
        bank=None,  # set by the stage: the bank cut from its labelled frames
        groups=paste_groups,
        sources=['ground_truth'],
        mode='add',  # 'add' on top of what is there; 'fill_up_to' the group's number (Waymo)
        min_points=5,  # objects with fewer points are not pasted
        in_group_iou=0.0,  # objects must not touch each other
        use_ground_plane=True,  # put objects on the road plane where the frame has one
    ),
    *augmentation,
]
pseudo_pipeline = [
    load_points,
    dict(type='LoadBackground', bank=None),  # keeps the points that no predicted or labelled object owns
    dict(
        type='PasteObjects',
        bank=None,
        groups=paste_groups,
        sources=['ground_truth', 'confident'],
        mode='add',
        min_points=5,
        in_group_iou=0.3,  # pairs of one class with more BEV overlap than this are refused
        use_ground_plane=True,
    ),
    *augmentation,
]
student_pipeline = [  # what a student sees of an unlabelled frame, after its points were loaded
    dict(type='RandomFlip3D', flip_ratio_bev_horizontal=0.5),
    dict(type='GlobalRotScaleTrans', rot_range=[-0.78539816, 0.78539816], scale_ratio_range=[0.95, 1.05]),  # rad
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='PointShuffle'),
    dict(type='Pack3DDetInputs', keys=['points']),
]
test_pipeline = [
    load_points,
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='Pack3DDetInputs', keys=['points']),
]

train_dataloader = dict(
    batch_size=2,  # frames of a training step, over all processes of an experiment together
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='UnlabelledView', dataset=dict(pool_dataset, pipeline=test_pipeline)),  # stages replace it
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        pool_dataset,
        ann_file='kitti_infos_val.pkl',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='KittiAPMetric', ann_file=data_root + '/kitti_infos_val.pkl')
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.001, betas=(0.95, 0.99), weight_decay=0.01),
    clip_grad=dict(max_norm=10, norm_type=2),
)
