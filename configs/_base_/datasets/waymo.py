"""Waymo Open Dataset: every 20th frame of the training split is the pool, every 10th of the validation split measures.

`tools/create_data.py waymo` writes infos and scans of versions 1 and 2, `tools/simulate.py --preset waymo` simulated
ones.
"""

_base_ = './lidar.py'

dataset_type = 'WaymoFrameDataset'  # class of its frames
scans = 'training/velodyne'  # folder of the point clouds, in data_root
data_root = '{{$SSAL3D_WAYMO:data/waymo/}}'  # or set the environment variable SSAL3D_WAYMO
tag = 'waymo'  # prefix of the annotation files
class_names = ['Car', 'Pedestrian', 'Cyclist']  # Waymo's vehicles are 'Car' in MMDetection3D
point_cloud_range = [-75.2, -75.2, -2, 75.2, 75.2, 4]  # m: x, y, z minimum, then maximum; z = 0 is the ground
point_values = 6  # x, y, z, intensity, elongation, pixel of the roof LiDAR
point_features = 5  # all but the pixel
paste_groups = dict(Car=15, Pedestrian=10, Cyclist=10)  # objects that a frame is filled up to, by class
paste_mode = 'fill_up_to'  # frames are crowded: only what they lack to that number is pasted
mirror_ahead = 0.5  # share of samples that are mirrored x -> -x

val_evaluator = dict(type='WaymoAPMetric', ann_file='${data_root}/${tag}_infos_val.pkl')
test_evaluator = val_evaluator
