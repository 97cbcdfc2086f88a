"""PointPillars for KITTI, MMDetection3D's own; its checkpoints load unchanged."""

_base_ = 'mmdet3d::_base_/models/pointpillars_hv_secfpn_kitti.py'

voxel_size = [0.16, 0.16, 4]  # m
anchors = dict(  # by class. m: size (dx, dy, dz) and bottom (z); BEV IoU: positive from, negative up to
    Pedestrian=dict(size=[0.8, 0.6, 1.73], bottom=-0.6, pos_iou_thr=0.5, neg_iou_thr=0.35),
    Cyclist=dict(size=[1.76, 0.6, 1.73], bottom=-0.6, pos_iou_thr=0.5, neg_iou_thr=0.35),
    Car=dict(size=[3.9, 1.6, 1.56], bottom=-1.78, pos_iou_thr=0.6, neg_iou_thr=0.45),
)

model = dict(
    type='ActiveVoxelNet',
    feature_grid=1,  # points along each side of a box at which its features are read; 1: its centre
    dense_cpu_dtype='auto',  # of backbone and neck on CPUs: bfloat16 where it is fast; or 'float32', 'bfloat16'
    data_preprocessor=dict(
        voxel_layer=dict(point_cloud_range='${point_cloud_range}', voxel_size='${voxel_size}'),
    ),
    voxel_encoder=dict(point_cloud_range='${point_cloud_range}', voxel_size='${voxel_size}'),
    middle_encoder=dict(output_shape='${bev_shape}'),  # y, x pillars
    bbox_head=dict(
        type='ActiveAnchor3DHead',
        num_classes='${num_classes}',
        anchor_generator=dict(ranges='${anchor_ranges}', sizes='${anchor_sizes}'),
    ),
    train_cfg=dict(assigner='${anchor_assigners}'),
)
