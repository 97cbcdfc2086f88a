"""CRB on Waymo with the settings of its released code; all other options stand in crb_kitti.py."""

_base_ = './crb_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
active_sampler = dict(
    k1=3,  # keep k1 n frames with the most diverse labels (the paper's appendix says 5)
    k2=2,  # keep k2 n frames with different gradients (the paper's appendix says 3)
)
