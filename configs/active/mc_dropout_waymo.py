"""Monte-Carlo dropout on Waymo."""

_base_ = './mc_dropout_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
