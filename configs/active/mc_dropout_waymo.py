"""Monte-Carlo dropout on Waymo."""

_base_ = './mc_dropout_kitti.py'
budget = 5000  # boxes to buy with one query
