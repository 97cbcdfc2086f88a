"""S-SSAL with CoreSet instead of CAL."""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/coreset_kitti.py']
