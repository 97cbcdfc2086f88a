"""S-SSAL with learning loss (LLAL) instead of CAL; a third stage trains the loss net before the query."""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/llal_kitti.py']
train_cfg = dict(rounds=[dict(pretrain=['normal', 'cpsp', 'loss_net'])])
