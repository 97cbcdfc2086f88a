"""S-SSAL with PPAL instead of CAL; the detector follows how well it has learnt each class."""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/ppal_kitti.py']
model = dict(roi_head=dict(class_quality=dict(momentum=0.99)))  # of the moving average
