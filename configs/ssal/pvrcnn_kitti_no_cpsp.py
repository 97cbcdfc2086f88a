"""Ablation: query with the supervised model alone, without pseudo-scene pre-training."""

_base_ = './pvrcnn_kitti.py'
train_cfg = dict(rounds=[dict(pretrain=['normal'])])
