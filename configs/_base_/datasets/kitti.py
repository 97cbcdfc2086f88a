"""KITTI object detection: the train split is the pool, the val split measures.

`tools/create_data.py kitti` writes the infos and the point clouds cropped to the camera view.
"""

_base_ = './lidar.py'

data_root = '{{$SSAL3D_KITTI:data/kitti/}}'  # or set the environment variable SSAL3D_KITTI
tag = 'kitti'  # prefix of the annotation files
class_names = ['Pedestrian', 'Cyclist', 'Car']  # the order of MMDetection3D's released KITTI models
point_cloud_range = [0, -40, -3, 70.4, 40, 1]  # m: x, y, z minimum, then maximum
paste_groups = dict(Car=15, Pedestrian=10, Cyclist=10)  # objects pasted per frame, by class
use_ground_plane = True  # put pasted objects on the road plane where the frame has one

# All frames that may be labelled; the loop alone decides whose labels are visible.
pool_dataset = dict(
    type='KittiFrameDataset',
    data_root='${data_root}',
    ann_file='${tag}_infos_train.pkl',  # in data_root
    data_prefix=dict(pts='training/velodyne_reduced'),  # folder of the scans, in data_root
    modality=dict(use_lidar=True, use_camera=False),
    metainfo=dict(classes='${class_names}'),  # change class_names
    box_type_3d='LiDAR',
)
val_dataloader = dict(
    dataset=dict(pool_dataset, ann_file='${tag}_infos_val.pkl', pipeline='${test_pipeline}', test_mode=True)
)
test_dataloader = val_dataloader
val_evaluator = dict(type='KittiAPMetric', ann_file='${data_root}/${tag}_infos_val.pkl')
test_evaluator = val_evaluator
