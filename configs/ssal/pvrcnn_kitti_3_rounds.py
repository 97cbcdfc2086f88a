"""Three queries of 50 boxes instead of one of 150."""

_base_ = './pvrcnn_kitti.py'
train_cfg = dict(rounds=[dict(pretrain=['normal', 'cpsp'], query=dict(budget=50))] * 3)
