"""KECOR on Waymo with the settings of its released code; all other options stand in kecor_kitti.py."""

_base_ = './kecor_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
active_sampler = dict(
    entropy_weight=0.5,  # weight lambda of the label entropy; 0: none
)
