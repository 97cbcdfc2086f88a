"""Ablation (Table 5): class balance alone, over a random order."""

_base_ = './pvrcnn_kitti.py'
active_sampler = dict(entropy='none', t_sim=float('inf'))
