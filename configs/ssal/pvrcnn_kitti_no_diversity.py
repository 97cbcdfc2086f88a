"""Ablation (Table 5): CAL without box diversity (no frame is too similar)."""

_base_ = './pvrcnn_kitti.py'
active_sampler = dict(t_sim=float('inf'))
