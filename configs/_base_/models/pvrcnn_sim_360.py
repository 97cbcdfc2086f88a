"""The small PV-RCNN for simulated drives: 0.32 m voxels on a whole turn, key points from voxels, Waymo's anchors."""

_base_ = './pvrcnn_kitti_small.py'

voxel_size = [0.32, 0.32, 0.15]  # m
best = 0.2  # BEV IoU from which an object's best anchor is positive: every 0.64 m, a pedestrian's overlaps little
anchors = dict(  # by class. m: size (dx, dy, dz), bottom (z) on the road; BEV IoU: positive from, negative up to
    Pedestrian=dict(size=[0.91, 0.86, 1.73], bottom=0.0, pos_iou_thr=0.5, neg_iou_thr=0.35, min_pos_iou=best),
    Cyclist=dict(size=[1.78, 0.84, 1.78], bottom=0.0, pos_iou_thr=0.5, neg_iou_thr=0.35, min_pos_iou=best),
    Car=dict(size=[4.2, 1.8, 1.6], bottom=0.0, pos_iou_thr=0.55, neg_iou_thr=0.4, min_pos_iou=best),
)
del best  # a part of the above, no setting


def _set_abstraction(channels, scale, radius):
    """Return what key points gather from the level of the 3D backbone with this stride."""
    return dict(
        type='StackedSAModuleMSG',
        in_channels=channels,
        scale_factor=scale,
        radius=radius,
        sample_nums=(8, 8),
        mlp_channels=((16, 16), (16, 16)),
        use_xyz=True,
    )


model = dict(
    data_preprocessor=dict(voxel_layer=dict(max_num_points=20, max_voxels=(20000, 20000))),
    voxel_encoder=dict(num_features='${point_features}'),
    middle_encoder=dict(in_channels='${point_features}'),
    points_encoder=dict(
        num_keypoints=512,
        voxel_center_as_source=True,  # a scan has 150,000 points, but a tenth of that in voxels
        voxel_sa_cfgs_list=[
            _set_abstraction(8, 1, (0.4, 0.8)),
            _set_abstraction(32, 4, (1.2, 2.4)),
        ],
        rawpoints_sa_cfgs=None,
    ),
    neck=dict(upsample_strides=[4, 8]),  # anchors every 0.64 m
    roi_head=dict(semantic_head=dict(in_channels=128)),  # 64 of the map, 32 of each level
    train_cfg=dict(rpn_proposal=dict(nms_pre=512, nms_post=64, max_num=64), rcnn=dict(sampler=dict(num=48))),
    test_cfg=dict(rpn=dict(nms_pre=512, nms_post=64, max_num=64), rcnn=dict(score_thr=0.1)),
)
