"""PV-RCNN for KITTI, sized as in the paper; checkpoints of MMDetection3D's stock PV-RCNN load unchanged."""

voxel_size = [0.05, 0.05, 0.1]  # m
anchors = dict(  # by class. m: size (dx, dy, dz) and bottom (z); BEV IoU: positive from, negative up to
    Pedestrian=dict(size=[0.8, 0.6, 1.73], bottom=-0.6, pos_iou_thr=0.5, neg_iou_thr=0.35),
    Cyclist=dict(size=[1.76, 0.6, 1.73], bottom=-0.6, pos_iou_thr=0.5, neg_iou_thr=0.35),
    Car=dict(size=[3.9, 1.6, 1.56], bottom=-1.78, pos_iou_thr=0.6, neg_iou_thr=0.45),
)
roi_iou_thr = 0.55  # 3D IoU with an object from which a RoI learns that object's box

model = dict(
    type='ActivePointVoxelRCNN',
    dense_cpu_dtype='auto',  # of backbone and neck on CPUs: bfloat16 where it is fast; or 'float32', 'bfloat16'
    data_preprocessor=dict(
        type='Det3DDataPreprocessor',
        voxel=True,
        voxel_layer=dict(
            max_num_points=5,  # points kept per voxel
            point_cloud_range='${point_cloud_range}',
            voxel_size='${voxel_size}',
            max_voxels=(16000, 40000),  # training, testing
        ),
    ),
    voxel_encoder=dict(type='HardSimpleVFE'),
    middle_encoder=dict(
        type='SparseEncoder',
        in_channels=4,
        sparse_shape='${sparse_shape}',  # z, y, x voxels; z has one more
        order=('conv', 'norm', 'act'),
        encoder_paddings=((0, 0, 0), ((1, 1, 1), 0, 0), ((1, 1, 1), 0, 0), ((0, 1, 1), 0, 0)),
        return_middle_feats=True,
    ),
    points_encoder=dict(
        type='VoxelSetAbstraction',
        num_keypoints=2048,
        fused_out_channel=128,
        voxel_size='${voxel_size}',
        point_cloud_range='${point_cloud_range}',
        voxel_sa_cfgs_list=[
            dict(
                type='StackedSAModuleMSG',
                in_channels=16,
                scale_factor=1,
                radius=(0.4, 0.8),
                sample_nums=(16, 16),
                mlp_channels=((16, 16), (16, 16)),
                use_xyz=True,
            ),
            dict(
                type='StackedSAModuleMSG',
                in_channels=32,
                scale_factor=2,
                radius=(0.8, 1.2),
                sample_nums=(16, 32),
                mlp_channels=((32, 32), (32, 32)),
                use_xyz=True,
            ),
            dict(
                type='StackedSAModuleMSG',
                in_channels=64,
                scale_factor=4,
                radius=(1.2, 2.4),
                sample_nums=(16, 32),
                mlp_channels=((64, 64), (64, 64)),
                use_xyz=True,
            ),
            dict(
                type='StackedSAModuleMSG',
                in_channels=64,
                scale_factor=8,
                radius=(2.4, 4.8),
                sample_nums=(16, 32),
                mlp_channels=((64, 64), (64, 64)),
                use_xyz=True,
            ),
        ],
        rawpoints_sa_cfgs=dict(
            type='StackedSAModuleMSG',
            in_channels=1,
            radius=(0.4, 0.8),
            sample_nums=(16, 16),
            mlp_channels=((16, 16), (16, 16)),
            use_xyz=True,
        ),
        bev_feat_channel=256,
        bev_scale_factor=8,
    ),
    backbone=dict(type='SECOND', in_channels=256, layer_nums=[5, 5], layer_strides=[1, 2], out_channels=[128, 256]),
    neck=dict(type='SECONDFPN', in_channels=[128, 256], upsample_strides=[1, 2], out_channels=[256, 256]),
    rpn_head=dict(
        type='ActivePartA2RPNHead',
        num_classes='${num_classes}',
        in_channels=512,
        feat_channels=512,
        use_direction_classifier=True,
        dir_offset=0.78539,
        anchor_generator=dict(
            type='Anchor3DRangeGenerator',
            ranges='${anchor_ranges}',
            sizes='${anchor_sizes}',
            rotations=[0, 1.57],
            reshape_out=False,
        ),
        diff_rad_by_sin=True,
        assigner_per_size=True,
        assign_per_class=True,
        bbox_coder=dict(type='DeltaXYZWLHRBBoxCoder'),
        loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='mmdet.SmoothL1Loss', beta=1.0 / 9.0, loss_weight=2.0),
        loss_dir=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False, loss_weight=0.2),
    ),
    roi_head=dict(
        type='ActivePVRCNNRoiHead',
        num_classes='${num_classes}',
        semantic_head=dict(
            type='ForegroundSegmentationHead',
            in_channels=640,  # sum of the key point features before fusion
            extra_width=0.1,
            loss_seg=dict(
                type='mmdet.FocalLoss',
                use_sigmoid=True,
                reduction='sum',
                gamma=2.0,
                alpha=0.25,
                activated=True,
                loss_weight=1.0,
            ),
        ),
        bbox_roi_extractor=dict(
            type='Batch3DRoIGridExtractor',
            grid_size=6,
            roi_layer=dict(
                type='StackedSAModuleMSG',
                in_channels=128,
                radius=(0.8, 1.6),
                sample_nums=(16, 16),
                mlp_channels=((64, 64), (64, 64)),
                use_xyz=True,
                pool_mod='max',
            ),
        ),
        bbox_head=dict(
            type='ActivePVRCNNBBoxHead',
            in_channels=128,
            grid_size=6,
            num_classes='${num_classes}',
            class_agnostic=True,
            shared_fc_channels=(256, 256),
            reg_channels=(256, 256),
            cls_channels=(256, 256),
            dropout_ratio=0.3,
            with_corner_loss=True,
            bbox_coder=dict(type='DeltaXYZWLHRBBoxCoder'),
            loss_bbox=dict(type='mmdet.SmoothL1Loss', beta=1.0 / 9.0, reduction='sum', loss_weight=1.0),
            loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, reduction='sum', loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner='${anchor_assigners}',
            allowed_border=0,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(nms_pre=9000, nms_post=512, max_num=512, nms_thr=0.8, score_thr=0, use_rotate_nms=True),
        rcnn=dict(
            assigner='${roi_assigners}',
            sampler=dict(
                type='IoUNegPiecewiseSampler',
                num=128,  # RoIs that a frame teaches the second stage, labelled or not, as all methods released it
                pos_fraction=0.5,
                neg_piece_fractions=[0.8, 0.2],
                neg_iou_piece_thrs=[0.55, 0.1],
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
                return_iou=True,
            ),
            cls_pos_thr=0.75,
            cls_neg_thr=0.25,
        ),
    ),
    test_cfg=dict(
        # 100 RoIs of a frame in predictions, those of teachers too (3DIoUMatch, HSSDA). CRB, KECOR and LLAL released
        # 128, but another number here is another detector for that row: docs/samplers.md.
        rpn=dict(nms_pre=1024, nms_post=100, max_num=100, nms_thr=0.7, score_thr=0, use_rotate_nms=True),
        rcnn=dict(use_rotate_nms=True, use_raw_score=True, nms_thr=0.1, score_thr=0.1),
    ),
)
