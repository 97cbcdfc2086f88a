"""Ablation (Table 7): query with a model pre-trained by Joint3D-style consistency instead of CPSP."""

_base_ = './pvrcnn_kitti.py'
train_cfg = dict(rounds=[dict(pretrain=['normal', 'joint3d'])])
