"""The pillar detector for simulated drives: a whole turn, so larger pillars, and Waymo's anchors."""

_base_ = './pillars_sim.py'

voxel_size = [0.32, 0.32, 6]  # m
best = 0.2  # BEV IoU from which an object's best anchor is positive: every 0.64 m, a pedestrian's overlaps little
anchors = dict(  # by class. m: size (dx, dy, dz), bottom (z) on the road; BEV IoU: positive from, negative up to
    Pedestrian=dict(size=[0.91, 0.86, 1.73], bottom=0.0, pos_iou_thr=0.5, neg_iou_thr=0.35, min_pos_iou=best),
    Cyclist=dict(size=[1.78, 0.84, 1.78], bottom=0.0, pos_iou_thr=0.5, neg_iou_thr=0.35, min_pos_iou=best),
    Car=dict(size=[4.2, 1.8, 1.6], bottom=0.0, pos_iou_thr=0.55, neg_iou_thr=0.4, min_pos_iou=best),
)
del best  # a part of the above, no setting

model = dict(
    data_preprocessor=dict(voxel_layer=dict(max_voxels=(20000, 20000))),
    voxel_encoder=dict(in_channels='${point_features}'),
    test_cfg=dict(max_num=100),
)
