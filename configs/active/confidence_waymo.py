"""Least confident frames on Waymo."""

_base_ = './confidence_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
