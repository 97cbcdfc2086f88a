"""Ablation (Table 7): query with a model pre-trained by HSSDA instead of CPSP."""

_base_ = './pvrcnn_kitti.py'
train_cfg = dict(rounds=[dict(pretrain=['normal', 'hssda'])])
