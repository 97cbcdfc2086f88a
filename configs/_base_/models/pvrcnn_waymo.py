"""PV-RCNN for Waymo, sized as in the paper: larger voxels, twice the key points, features of the two deepest levels."""

_base_ = './pvrcnn_kitti.py'

voxel_size = [0.1, 0.1, 0.15]  # m
best = 0.05  # BEV IoU from which an object's best anchor is positive: every 0.8 m, a pedestrian's overlaps little
anchors = dict(  # by class. m: size (dx, dy, dz) and bottom (z); BEV IoU: positive from, negative up to
    Car=dict(size=[4.7, 2.1, 1.7], bottom=0.0, pos_iou_thr=0.55, neg_iou_thr=0.4, min_pos_iou=best),
    Pedestrian=dict(size=[0.91, 0.86, 1.73], bottom=0.0, pos_iou_thr=0.5, neg_iou_thr=0.35, min_pos_iou=best),
    Cyclist=dict(size=[1.78, 0.84, 1.78], bottom=0.0, pos_iou_thr=0.5, neg_iou_thr=0.35, min_pos_iou=best),
)
del best  # a part of the above, no setting


def _set_abstraction(scale, radius):
    """Return what key points gather from the level of the 3D backbone with this stride."""
    return dict(
        type='StackedSAModuleMSG',
        in_channels=64,
        scale_factor=scale,
        radius=radius,
        sample_nums=(16, 32),
        mlp_channels=((64, 64), (64, 64)),
        use_xyz=True,
    )


model = dict(
    data_preprocessor=dict(voxel_layer=dict(max_voxels=(150000, 150000))),
    voxel_encoder=dict(num_features='${point_features}'),
    middle_encoder=dict(in_channels='${point_features}'),
    points_encoder=dict(
        num_keypoints=4096,
        voxel_sa_cfgs_list=[_set_abstraction(4, (1.2, 2.4)), _set_abstraction(8, (2.4, 4.8))],
        rawpoints_sa_cfgs=dict(in_channels=2),  # intensity and elongation
    ),
    roi_head=dict(semantic_head=dict(in_channels=544)),  # 256 of the map, 128 of each level, 32 of the points
    test_cfg=dict(
        rpn=dict(nms_pre=4096, nms_post=300, max_num=300, nms_thr=0.85),
        # Released: 0.7 but for the first model of a query. With two limits, the models' boxes cannot be compared.
        rcnn=dict(nms_thr=0.1),
    ),
)
