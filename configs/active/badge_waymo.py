"""BADGE on Waymo."""

_base_ = './badge_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
