"""Own scans and classes, as `ssal3d create-data folder` converts them.

The experiment says where they are and what is in them: configs/ssal/pvrcnn_folder.py.
"""

_base_ = './lidar.py'

# All frames that may be labelled; the loop alone decides whose labels are visible.
pool_dataset = dict(
    type='FolderDataset',
    data_root='${data_root}',
    ann_file='${tag}_infos_train.pkl',  # in data_root
    data_prefix=dict(pts='points'),  # folder of the scans, in data_root
    modality=dict(use_lidar=True, use_camera=False),
    metainfo=dict(classes='${class_names}'),  # change class_names
    box_type_3d='LiDAR',
)
val_dataloader = dict(
    dataset=dict(pool_dataset, ann_file='${tag}_infos_val.pkl', pipeline='${test_pipeline}', test_mode=True)
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='LidarAPMetric',
    ann_file='${data_root}/${tag}_infos_val.pkl',
    ranges=[0, 30, 50, 80],  # m: edges of the bands
)
test_evaluator = val_evaluator
