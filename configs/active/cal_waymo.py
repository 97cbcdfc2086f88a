"""CAL on Waymo, with nothing but what was bought; all other options stand in cal_kitti.py."""

_base_ = './cal_kitti.py'
query = dict(budget=5000)  # boxes to buy with one query
active_sampler = dict(
    # with caps='manual' alone: the released code's for Waymo; 'Car' is understood as 'Vehicle'
    class_weights=dict(_delete_=True, Vehicle=0.1, Pedestrian=0.2, Cyclist=2.7),
)
