"""CenterPoint for KITTI: the 3D backbone of SECOND, heat maps with cells of 0.4 m, boxes without velocity.

MMDetection3D has no CenterPoint for KITTI; the head's numbers are those of its nuScenes configs.
"""

voxel_size = [0.05, 0.05, 0.1]  # m
nms_radius = dict(Pedestrian=0.3, Cyclist=0.6, Car=2)  # m, with nms_type='circle', by class

model = dict(
    type='ActiveCenterPoint',
    feature_grid=1,  # points along each side of a box at which its features are read; 1: its centre
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
    pts_voxel_encoder=dict(type='HardSimpleVFE', num_features=4),
    pts_middle_encoder=dict(
        type='SparseEncoder',
        in_channels=4,
        sparse_shape='${sparse_shape}',  # z, y, x voxels; z has one more
        order=('conv', 'norm', 'act'),
    ),
    pts_backbone=dict(type='SECOND', in_channels=256, layer_nums=[5, 5], layer_strides=[1, 2], out_channels=[128, 256]),
    pts_neck=dict(type='SECONDFPN', in_channels=[128, 256], upsample_strides=[1, 2], out_channels=[256, 256]),
    pts_bbox_head=dict(
        type='ActiveCenterHead',
        in_channels=512,
        tasks='${center_tasks}',  # one for each class, in the order of class_names
        common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2)),  # outputs, convolutions
        share_conv_channel=64,
        bbox_coder=dict(
            type='CenterPointBBoxCoder',
            pc_range='${bev_origin}',
            post_center_range='${post_center_range}',  # m: boxes with centres outside are dropped
            max_num=200,
            score_threshold=0.1,
            out_size_factor=8,  # voxels along a side of a cell of the heat map
            voxel_size='${bev_voxel_size}',
            code_size=7,
        ),
        separate_head=dict(type='SeparateHead', init_bias=-2.19, final_kernel=3),
        loss_cls=dict(type='mmdet.GaussianFocalLoss', reduction='mean'),
        loss_bbox=dict(type='mmdet.L1Loss', reduction='mean', loss_weight=0.25),
        norm_bbox=True,
    ),
    train_cfg=dict(
        pts=dict(
            grid_size='${grid_size}',
            voxel_size='${voxel_size}',
            point_cloud_range='${point_cloud_range}',
            out_size_factor=8,  # voxels along a side of a cell of the heat map
            dense_reg=1,
            gaussian_overlap=0.1,
            max_objs=200,
            min_radius=2,
            code_weights=[1.0] * 8 + [0.0, 0.0],  # no velocity
        )
    ),
    test_cfg=dict(
        pts=dict(
            post_center_limit_range='${post_center_range}',  # m: boxes with centres outside are dropped
            max_per_img=200,
            max_pool_nms=False,
            min_radius='${nms_radii}',
            score_threshold=0.1,
            pc_range='${bev_origin}',
            out_size_factor=8,  # voxels along a side of a cell of the heat map
            voxel_size='${bev_voxel_size}',
            nms_type='rotate',
            pre_max_size=1000,
            post_max_size=83,
            nms_thr=0.2,
        )
    ),
)
