"""What all data sets share: how a frame becomes a sample, and the loaders. A data set adds files, classes and a range.

'${name}' stands for the final value of a key, whatever a child config or --cfg-options makes of it: docs/configs.md.
"""

point_values = 4  # values of a point in the files
point_features = 4  # of them, those that the detector reads: x, y, z, intensity and what follows
mirror_ahead = 0.0  # share of samples that are mirrored x -> -x, for scans of a whole turn
paste_mode = 'add'  # objects are pasted on top of what is there; 'fill_up_to': up to the number of the group
use_ground_plane = False  # put pasted objects on the road plane where the frame has one

load_points = dict(
    type='LoadPointsFromFile', coord_type='LIDAR', load_dim='${point_values}', use_dim='${point_features}'
)
flip = dict(
    type='RandomFlip3D',
    flip_ratio_bev_horizontal=0.5,  # y -> -y, in half of the samples
    flip_ratio_bev_vertical='${mirror_ahead}',  # x -> -x; change mirror_ahead
)
turn = dict(type='GlobalRotScaleTrans', rot_range=[-0.78539816, 0.78539816], scale_ratio_range=[0.95, 1.05])  # rad
crop = dict(type='PointsRangeFilter', point_cloud_range='${point_cloud_range}')
augmentation = [
    flip,
    turn,
    crop,
    dict(type='ObjectRangeFilter', point_cloud_range='${point_cloud_range}'),
    dict(type='PointShuffle'),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d']),
]
paste = dict(
    type='PasteObjects',
    bank=None,  # set by the stage: the bank cut from its labelled frames
    groups='${paste_groups}',  # how many of each class; change paste_groups
    mode='${paste_mode}',  # change paste_mode
    use_dim='${point_features}',  # of the files' points, as loaded
    min_points=5,  # objects with fewer points are not pasted
    use_ground_plane='${use_ground_plane}',
)

labelled_pipeline = [  # a labelled frame in training
    load_points,
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(
        paste,
        sources=['ground_truth'],  # which objects of the bank
        in_group_iou=0.0,  # objects must not touch each other
    ),
    *augmentation,
]
pseudo_pipeline = [  # a pseudo-scene of CPSP
    load_points,
    dict(type='LoadBackground', bank=None),  # keeps the points that no predicted or labelled object owns
    dict(
        paste,
        sources=['ground_truth', 'confident'],  # which objects of the bank
        in_group_iou=0.3,  # pairs of one class with more BEV overlap than this are refused
    ),
    *augmentation,
]
student_pipeline = [  # what a student sees of an unlabelled frame, after its points were loaded
    flip,
    turn,
    crop,
    dict(type='PointShuffle'),
    dict(type='Pack3DDetInputs', keys=['points']),
]
test_pipeline = [load_points, crop, dict(type='Pack3DDetInputs', keys=['points'])]  # prediction and validation
del load_points, flip, turn, crop, augmentation, paste  # parts of the above, no settings

train_dataloader = dict(  # every stage adds its data set
    batch_size=2,  # frames of a training step, over all processes of an experiment together
    num_workers=2,  # loader processes
    persistent_workers=True,  # keep them between epochs; False with num_workers=0
    sampler=dict(type='DefaultSampler', shuffle=True),
)
pool_dataloader = dict(  # how the unlabelled pool is predicted
    batch_size=2,  # frames per forward
    num_workers=2,  # loader processes
    frames_per_part=64,  # per file; what a killed prediction may lose
)
# All frames that may be labelled; the loop alone decides whose labels are visible.
pool_dataset = dict(
    type='${dataset_type}',
    data_root='${data_root}',
    ann_file='${tag}_infos_train.pkl',  # in data_root
    data_prefix=dict(pts='${scans}'),  # in data_root; change scans
    modality=dict(use_lidar=True, use_camera=False),
    metainfo=dict(classes='${class_names}'),  # change class_names
    box_type_3d='LiDAR',
)
val_dataloader = dict(
    batch_size=1,  # per process
    num_workers=1,  # loader processes
    persistent_workers=True,  # keep them between epochs; False with num_workers=0
    drop_last=False,  # measure every frame
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pool_dataset, ann_file='${tag}_infos_val.pkl', pipeline='${test_pipeline}', test_mode=True),
)
test_dataloader = val_dataloader
