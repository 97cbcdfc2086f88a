"""Random frames on Waymo."""

_base_ = './random_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
