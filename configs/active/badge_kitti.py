"""BADGE on KITTI."""

_base_ = '../_base_/query_kitti.py'
active_sampler = dict(
    type='BADGESampler',
    layer='roi_cls',  # gradient of the last hidden layer of the RoI score branch; 'rpn_conv_cls': released code
    proj_dim=64,  # project both sides of the gradient matrix to so many dimensions; None: keep all
)
