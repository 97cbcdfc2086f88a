"""A PV-RCNN with 1/24 of the parameters, for CPUs: 0.1 m voxels, narrow layers, fewer key points and RoIs."""

_base_ = 'pvrcnn_kitti.py'

voxel_size = [0.1, 0.1, 0.1]  # m


def _set_abstraction(channels, scale, radius, out):
    return dict(
        type='StackedSAModuleMSG',
        in_channels=channels,
        scale_factor=scale,
        radius=radius,
        sample_nums=(8, 8),
        mlp_channels=((out, out), (out, out)),
        use_xyz=True,
    )


model = dict(
    data_preprocessor=dict(voxel_layer=dict(max_voxels=(16000, 20000))),
    middle_encoder=dict(
        base_channels=8,
        output_channels=32,
        encoder_channels=((8,), (16, 16), (32, 32), (32, 32)),
        encoder_paddings=((0,), ((1, 1, 1), 0), ((1, 1, 1), 0), ((0, 1, 1), 0)),
    ),
    points_encoder=dict(
        num_keypoints=1024,
        fused_out_channel=32,
        voxel_sa_cfgs_list=[
            _set_abstraction(8, 1, (0.4, 0.8), 8),
            _set_abstraction(16, 2, (0.8, 1.2), 8),
            _set_abstraction(32, 4, (1.2, 2.4), 16),
            _set_abstraction(32, 8, (2.4, 4.8), 16),
        ],
        rawpoints_sa_cfgs=dict(sample_nums=(8, 8), mlp_channels=((8, 8), (8, 8))),
        bev_feat_channel=64,
    ),
    backbone=dict(in_channels=64, layer_nums=[2, 2], out_channels=[32, 64]),
    # Anchors every 0.4 m, as in the full model: at 0.8 m half of the pedestrians and cyclists have none.
    neck=dict(in_channels=[32, 64], out_channels=[64, 64], upsample_strides=[2, 4]),
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        semantic_head=dict(in_channels=176),
        bbox_roi_extractor=dict(
            grid_size=4,
            roi_layer=dict(in_channels=32, radius=(0.8, 1.6), sample_nums=(16, 16), mlp_channels=((16, 16), (16, 16))),
        ),
        bbox_head=dict(
            in_channels=32,
            grid_size=4,
            shared_fc_channels=(64, 64),
            reg_channels=(64, 64),
            cls_channels=(64, 64),
            dropout_ratio=0.1,  # narrow layers learn too slowly with 0.3
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=1024, nms_post=128, max_num=128),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=512, nms_post=64, max_num=64)),
)
