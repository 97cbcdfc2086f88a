"""Information per box on Waymo; all other options stand in information_per_box_kitti.py."""

_base_ = './information_per_box_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
