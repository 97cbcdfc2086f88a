"""Five queries of 5,000 boxes with a final model after every one (Fig. 6)."""

_base_ = './pvrcnn_waymo.py'
train_cfg = dict(rounds=[dict(pretrain=['normal', 'cpsp'])] * 5, final_every_round=True)
