"""Ablation (Table 5): CAL without ensemble entropy; class balance and diversity over a random order."""

_base_ = './pvrcnn_kitti.py'
active_sampler = dict(entropy='none')
