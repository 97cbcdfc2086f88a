"""The small PV-RCNN, smaller: 0.2 m voxels up to 51.2 m, beyond which KITTI's moderate level counts nothing anyway."""

_base_ = 'pvrcnn_kitti_small.py'

voxel_size = [0.2, 0.2, 0.1]  # m
model_range = [0, -32, -3, 51.2, 32, 1]  # m; the data set's point_cloud_range must agree

model = dict(
    data_preprocessor=dict(
        voxel_layer=dict(voxel_size=voxel_size, point_cloud_range=model_range, max_voxels=(12000, 16000))
    ),
    middle_encoder=dict(sparse_shape=[41, 320, 256]),
    points_encoder=dict(
        num_keypoints=768,
        voxel_size=voxel_size,
        point_cloud_range=model_range,
    ),
    neck=dict(upsample_strides=[4, 8]),  # anchors every 0.4 m: at 0.8 m half of the pedestrians and cyclists have none
    rpn_head=dict(
        anchor_generator=dict(
            ranges=[
                [0, -32.0, -0.6, 51.2, 32.0, -0.6],
                [0, -32.0, -0.6, 51.2, 32.0, -0.6],
                [0, -32.0, -1.78, 51.2, 32.0, -1.78],
            ]
        )
    ),
)
