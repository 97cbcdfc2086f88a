"""CAL on Waymo with the limits of S-SSAL's released code; all other options stand in cal_kitti.py."""

_base_ = './cal_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
active_sampler = dict(
    caps='manual',  # from class_weights
    class_weights=dict(_delete_=True, Vehicle=0.1, Pedestrian=0.2, Cyclist=2.7),  # 'Car' is understood as 'Vehicle'
)
