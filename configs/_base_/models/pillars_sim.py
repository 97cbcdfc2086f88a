"""A pillar detector for simulated streets that trains in minutes on CPUs: 0.2 m pillars, anchors every 0.4 m."""

voxel_size = [0.2, 0.2, 4]  # m
anchors = dict(  # by class. m: size (dx, dy, dz), bottom (z) on the road; BEV IoU: positive from, negative up to
    Pedestrian=dict(size=[0.8, 0.6, 1.73], bottom=-1.55, pos_iou_thr=0.5, neg_iou_thr=0.35),
    Cyclist=dict(size=[1.76, 0.6, 1.73], bottom=-1.55, pos_iou_thr=0.5, neg_iou_thr=0.35),
    Car=dict(size=[3.9, 1.6, 1.56], bottom=-1.55, pos_iou_thr=0.6, neg_iou_thr=0.45),
)

model = dict(
    type='ActiveVoxelNet',
    feature_grid=1,  # points along each side of a box at which its features are read; 1: its centre
    dense_cpu_dtype='auto',  # of backbone and neck on CPUs: bfloat16 where it is fast; or 'float32', 'bfloat16'
    data_preprocessor=dict(
        type='Det3DDataPreprocessor',
        voxel=True,
        voxel_layer=dict(
            max_num_points=64,  # points kept per pillar; a person at 10 m has 100 in the fullest one
            point_cloud_range='${point_cloud_range}',
            voxel_size='${voxel_size}',
            max_voxels=(10000, 10000),  # training, testing
        ),
    ),
    voxel_encoder=dict(
        type='PillarFeatureNet',
        in_channels=4,
        feat_channels=[32],
        with_distance=False,
        voxel_size='${voxel_size}',
        point_cloud_range='${point_cloud_range}',
    ),
    middle_encoder=dict(type='PointPillarsScatter', in_channels=32, output_shape='${bev_shape}'),
    backbone=dict(
        type='SECOND', in_channels=32, layer_nums=[2, 3, 3], layer_strides=[2, 2, 2], out_channels=[16, 32, 64]
    ),
    neck=dict(type='SECONDFPN', in_channels=[16, 32, 64], upsample_strides=[1, 2, 4], out_channels=[16, 16, 16]),
    bbox_head=dict(
        type='ActiveAnchor3DHead',
        num_classes='${num_classes}',
        in_channels=48,
        feat_channels=48,
        use_direction_classifier=True,
        assign_per_class=True,
        dir_offset=0.78539,
        anchor_generator=dict(
            type='AlignedAnchor3DRangeGenerator',
            ranges='${anchor_ranges}',
            sizes='${anchor_sizes}',
            rotations=[0, 1.57],
            reshape_out=False,
        ),
        diff_rad_by_sin=True,
        bbox_coder=dict(type='DeltaXYZWLHRBBoxCoder'),
        loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='mmdet.SmoothL1Loss', beta=1.0 / 9.0, loss_weight=2.0),
        loss_dir=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False, loss_weight=0.2),
    ),
    train_cfg=dict(
        assigner='${anchor_assigners}',
        allowed_border=0,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        use_rotate_nms=True,
        nms_across_levels=False,
        nms_thr=0.01,  # BEV IoU above which the lower score of a class is dropped
        score_thr=0.1,
        min_bbox_size=0,
        nms_pre=512,
        max_num=50,
    ),
)
