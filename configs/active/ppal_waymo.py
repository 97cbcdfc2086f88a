"""PPAL on Waymo; all other options stand in ppal_kitti.py."""

_base_ = './ppal_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
