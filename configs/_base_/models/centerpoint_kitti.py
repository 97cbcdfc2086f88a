"""CenterPoint for KITTI: the 3D backbone of SECOND, heat maps with cells of 0.4 m, boxes without velocity.

MMDetection3D has no CenterPoint for KITTI; the head's numbers are those of its nuScenes configs.
"""

voxel_size = [0.05, 0.05, 0.1]  # m
model_range = [0, -40, -3, 70.4, 40, 1]  # m; the data set's point_cloud_range must agree
cells_per_map_cell = 8  # voxels along each side of a cell of the heat map

model = dict(
    type='ActiveCenterPoint',
    feature_grid=1,  # points along each side of a box at which its features are read; 1: its centre
    dense_cpu_dtype='auto',  # of backbone and neck on CPUs: bfloat16 where it is fast; or 'float32', 'bfloat16'
    data_preprocessor=dict(
        type='Det3DDataPreprocessor',
        voxel=True,
        voxel_layer=dict(
            max_num_points=5,  # points kept per voxel
            point_cloud_range=model_range,
            voxel_size=voxel_size,
            max_voxels=(16000, 40000),  # training, testing
        ),
    ),
    pts_voxel_encoder=dict(type='HardSimpleVFE', num_features=4),
    pts_middle_encoder=dict(
        type='SparseEncoder',
        in_channels=4,
        sparse_shape=[41, 1600, 1408],  # z, y, x voxels; z has one more
        order=('conv', 'norm', 'act'),
    ),
    pts_backbone=dict(type='SECOND', in_channels=256, layer_nums=[5, 5], layer_strides=[1, 2], out_channels=[128, 256]),
    pts_neck=dict(type='SECONDFPN', in_channels=[128, 256], upsample_strides=[1, 2], out_channels=[256, 256]),
    pts_bbox_head=dict(
        type='ActiveCenterHead',
        in_channels=512,
        tasks=[  # in the order of the data set's classes
            dict(num_class=1, class_names=['Pedestrian']),
            dict(num_class=1, class_names=['Cyclist']),
            dict(num_class=1, class_names=['Car']),
        ],
        common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2)),  # outputs, convolutions
        share_conv_channel=64,
        bbox_coder=dict(
            type='CenterPointBBoxCoder',
            pc_range=model_range[:2],
            post_center_range=[-10, -50, -10, 80.4, 50, 10],  # m
            max_num=200,
            score_threshold=0.1,
            out_size_factor=cells_per_map_cell,
            voxel_size=voxel_size[:2],
            code_size=7,
        ),
        separate_head=dict(type='SeparateHead', init_bias=-2.19, final_kernel=3),
        loss_cls=dict(type='mmdet.GaussianFocalLoss', reduction='mean'),
        loss_bbox=dict(type='mmdet.L1Loss', reduction='mean', loss_weight=0.25),
        norm_bbox=True,
    ),
    train_cfg=dict(
        pts=dict(
            grid_size=[1408, 1600, 40],
            voxel_size=voxel_size,
            point_cloud_range=model_range,
            out_size_factor=cells_per_map_cell,
            dense_reg=1,
            gaussian_overlap=0.1,
            max_objs=200,
            min_radius=2,
            code_weights=[1.0] * 8 + [0.0, 0.0],  # no velocity
        )
    ),
    test_cfg=dict(
        pts=dict(
            post_center_limit_range=[-10, -50, -10, 80.4, 50, 10],  # m
            max_per_img=200,
            max_pool_nms=False,
            min_radius=[0.3, 0.6, 2],  # m, with nms_type='circle', by task
            score_threshold=0.1,
            pc_range=model_range[:2],
            out_size_factor=cells_per_map_cell,
            voxel_size=voxel_size[:2],
            nms_type='rotate',
            pre_max_size=1000,
            post_max_size=83,
            nms_thr=0.2,
        )
    ),
)
