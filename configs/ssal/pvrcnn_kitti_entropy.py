"""S-SSAL with entropy of one model instead of CAL."""

_base_ = ['../_base_/pvrcnn_kitti.py', '../active/entropy_kitti.py']
