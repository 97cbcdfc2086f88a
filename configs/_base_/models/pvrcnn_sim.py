"""The small PV-RCNN, smaller: 0.2 m voxels, for a range of about 50 m."""

_base_ = 'pvrcnn_kitti_small.py'

voxel_size = [0.2, 0.2, 0.1]  # m

model = dict(
    data_preprocessor=dict(voxel_layer=dict(max_voxels=(12000, 16000))),
    points_encoder=dict(num_keypoints=768),
    neck=dict(upsample_strides=[4, 8]),  # anchors every 0.4 m: at 0.8 m half of the pedestrians and cyclists have none
)
