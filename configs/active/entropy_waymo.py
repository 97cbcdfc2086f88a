"""Entropy of the predicted boxes on Waymo."""

_base_ = './entropy_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
