"""Entropy of the predicted boxes on Waymo."""

_base_ = './entropy_kitti.py'
budget = 5000  # boxes to buy with one query
