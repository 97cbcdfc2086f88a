"""Own scans and classes, as `ssal3d create-data folder` converts them.

The experiment says where they are and what is in them: configs/ssal/pvrcnn_folder.py.
"""

_base_ = './lidar.py'

dataset_type = 'FolderDataset'  # class of its frames
scans = 'points'  # folder of the point clouds, in data_root

val_evaluator = dict(
    type='LidarAPMetric',
    ann_file='${data_root}/${tag}_infos_val.pkl',
    ranges=[0, 30, 50, 80],  # m: edges of the bands
)
test_evaluator = val_evaluator
