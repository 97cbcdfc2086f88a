"""PointPillars for KITTI, MMDetection3D's own; its checkpoints load unchanged."""

_base_ = 'mmdet3d::_base_/models/pointpillars_hv_secfpn_kitti.py'

model = dict(
    type='ActiveVoxelNet',
    feature_grid=1,  # points along each side of a box at which its features are read; 1: its centre
    dense_cpu_dtype='auto',  # of backbone and neck on CPUs: bfloat16 where it is fast; or 'float32', 'bfloat16'
    bbox_head=dict(type='ActiveAnchor3DHead'),
)
