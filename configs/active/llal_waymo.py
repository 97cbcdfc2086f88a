"""Learning loss (LLAL) on Waymo; the stage `loss_net` of the experiment trains the loss net."""

_base_ = './llal_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
