"""S-SSAL with the query of the paper's numbers: limits tuned to KITTI, DontCare regions of unbought frames (oracle)."""

_base_ = './pvrcnn_kitti.py'
query = dict(dontcare='paper')  # oracle: leave out frames with three boxes in DontCare regions
active_sampler = dict(caps='manual', min_precision=0)  # limits from class_weights; every class fills its counter
train_cfg = dict(annotator=dict(reveal_dontcare=True))  # oracle: tell these regions
