"""`pvrcnn_waymo`, shortened: a narrow detector on 25.6 m, two epochs a stage."""

_base_ = ['../../configs/ssal/pvrcnn_waymo.py']

point_cloud_range = [-25.6, -25.6, -2, 25.6, 25.6, 4]
voxel_size = [0.2, 0.2, 0.15]


def _set_abstraction(scale, radius):
    return dict(
        type='StackedSAModuleMSG',
        in_channels=16,
        scale_factor=scale,
        radius=radius,
        sample_nums=(8, 8),
        mlp_channels=((8, 8), (8, 8)),
        use_xyz=True,
    )


model = dict(
    data_preprocessor=dict(voxel_layer=dict(max_voxels=(4000, 4000))),
    middle_encoder=dict(
        base_channels=8,
        output_channels=16,
        encoder_channels=((8,), (8, 8), (16, 16), (16, 16)),
        encoder_paddings=((0,), ((1, 1, 1), 0), ((1, 1, 1), 0), ((0, 1, 1), 0)),
    ),
    points_encoder=dict(
        num_keypoints=256,
        fused_out_channel=16,
        voxel_sa_cfgs_list=[_set_abstraction(4, (1.2, 2.4)), _set_abstraction(8, (2.4, 4.8))],
        rawpoints_sa_cfgs=dict(sample_nums=(8, 8), mlp_channels=((8, 8), (8, 8))),
        bev_feat_channel=32,
    ),
    backbone=dict(in_channels=32, layer_nums=[1, 1], out_channels=[16, 16]),
    neck=dict(in_channels=[16, 16], out_channels=[16, 16], upsample_strides=[2, 4]),
    rpn_head=dict(in_channels=32, feat_channels=32),
    roi_head=dict(
        semantic_head=dict(in_channels=80),
        bbox_roi_extractor=dict(
            grid_size=3,
            roi_layer=dict(in_channels=16, sample_nums=(8, 8), mlp_channels=((8, 8), (8, 8))),
        ),
        bbox_head=dict(
            in_channels=16, grid_size=3, shared_fc_channels=(32, 32), reg_channels=(32, 32), cls_channels=(32, 32)
        ),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=256, nms_post=32, max_num=32), rcnn=dict(sampler=dict(num=16))),
    test_cfg=dict(rpn=dict(nms_pre=64, nms_post=16, max_num=16), rcnn=dict(score_thr=0.01)),
)
train_dataloader = dict(num_workers=0, persistent_workers=False)
pool_dataloader = dict(num_workers=0, frames_per_part=4)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
query = dict(budget=8)
stages = dict(
    normal=dict(epochs=2, repeat=1, options=dict(train_dataloader=dict(batch_size=2))),
    cpsp=dict(epochs=2, repeat=1, interval=1, bank=dict(k_first=2, k_next=2, tau_low=0.02)),
    supervised=dict(epochs=2, repeat=1, options=dict(train_dataloader=dict(batch_size=2))),
    final_cpsp=dict(epochs=2, repeat=1, interval=1, bank=dict(k_first=2, k_next=2, tau_low=0.02)),
)
train_cfg = dict(initial=dict(query=dict(budget=8)))
