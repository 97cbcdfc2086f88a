"""Waymo Open Dataset: every 20th frame of the training split is the pool, every 10th of the validation split measures.

`tools/create_data.py waymo` writes infos and scans of versions 1 and 2, `tools/simulate.py --preset waymo` simulated ones.
"""

_base_ = './lidar.py'

data_root = '{{$SSAL3D_WAYMO:data/waymo/}}'  # or set the environment variable SSAL3D_WAYMO
tag = 'waymo'  # prefix of the annotation files
class_names = ['Car', 'Pedestrian', 'Cyclist']  # Waymo's vehicles are 'Car' in MMDetection3D
point_cloud_range = [-75.2, -75.2, -2, 75.2, 75.2, 4]  # m: x, y, z minimum, then maximum; z = 0 is the ground
point_values = 6  # x, y, z, intensity, elongation, pixel of the roof LiDAR
point_features = 5  # all but the pixel
paste_groups = dict(Car=15, Pedestrian=10, Cyclist=10)  # objects that a frame is filled up to, by class
paste_mode = 'fill_up_to'  # frames are crowded: only what they lack to that number is pasted
mirror_ahead = 0.5  # share of samples that are mirrored x -> -x

# All frames that may be labelled; the loop alone decides whose labels are visible.
pool_dataset = dict(
    type='WaymoFrameDataset',
    data_root='${data_root}',
    ann_file='${tag}_infos_train.pkl',  # in data_root
    data_prefix=dict(pts='training/velodyne'),  # folder of the scans, in data_root
    modality=dict(use_lidar=True, use_camera=False),
    metainfo=dict(classes='${class_names}'),  # change class_names
    box_type_3d='LiDAR',
)
val_dataloader = dict(
    dataset=dict(pool_dataset, ann_file='${tag}_infos_val.pkl', pipeline='${test_pipeline}', test_mode=True)
)
test_dataloader = val_dataloader
val_evaluator = dict(type='WaymoAPMetric', ann_file='${data_root}/${tag}_infos_val.pkl')
test_evaluator = val_evaluator
