"""The experiment of S-SSAL on Waymo: as on KITTI with more boxes."""

_base_ = './experiment_kitti.py'

train_cfg = dict(initial=dict(query=dict(budget=5000)))  # boxes of the random start; those without a point count, too
