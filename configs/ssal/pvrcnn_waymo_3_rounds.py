"""Three queries of 5,000 boxes (Table 6); the paper compares them with one of 15,000."""

_base_ = './pvrcnn_waymo.py'
train_cfg = dict(rounds=[dict(pretrain=['normal', 'cpsp'])] * 3)
