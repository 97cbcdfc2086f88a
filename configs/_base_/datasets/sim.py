"""Simulated streets in the KITTI layout: everything as for KITTI, but another folder.

`tools/simulate.py` writes them, `tools/create_data.py kitti` converts them.
"""

_base_ = ['./kitti.py']

data_root = '{{$SSAL3D_SIM:data/sim/}}'  # or set the environment variable SSAL3D_SIM

pool_dataset = dict(data_root=data_root)
train_dataloader = dict(dataset=dict(dataset=dict(data_root=data_root)))  # inside the view
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
val_evaluator = dict(ann_file=data_root + '/kitti_infos_val.pkl')
test_evaluator = dict(ann_file=data_root + '/kitti_infos_val.pkl')
