"""S-SSAL with information per box instead of CAL."""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/information_per_box_kitti.py']
