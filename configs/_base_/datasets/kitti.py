"""KITTI object detection: the train split is the pool, the val split measures.

`tools/create_data.py kitti` writes the infos and the point clouds cropped to the camera view.
"""

_base_ = './lidar.py'

dataset_type = 'KittiFrameDataset'  # class of its frames
scans = 'training/velodyne_reduced'  # folder of the point clouds, in data_root
data_root = '{{$SSAL3D_KITTI:data/kitti/}}'  # or set the environment variable SSAL3D_KITTI
tag = 'kitti'  # prefix of the annotation files
class_names = ['Pedestrian', 'Cyclist', 'Car']  # the order of MMDetection3D's released KITTI models
point_cloud_range = [0, -40, -3, 70.4, 40, 1]  # m: x, y, z minimum, then maximum
paste_groups = dict(Car=15, Pedestrian=10, Cyclist=10)  # objects pasted per frame, by class
use_ground_plane = True  # put pasted objects on the road plane where the frame has one

val_evaluator = dict(type='KittiAPMetric', ann_file='${data_root}/${tag}_infos_val.pkl')
test_evaluator = val_evaluator
